"""Audits a candidate's accuracy by the labelled random picks of a project's shortlists."""

from collections.abc import Mapping

import numpy as np

from model.active_learning.accuracy_audit import Audit, Draws, LabelledImages, audit
from model.arrays import Float32s, Floats
from services.embedding.vectors import load_vectors
from services.reports.out_of_fold_answers import OutOfFoldAnswer
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from store.store import Store
from store.tasks.units import TaskId
from studio.items import ALL_IMAGES

# Open images whose confidence is looked at, a random part of more. At this number the part's mean
# is known to half a point, a fraction of what a hundred random picks leave open.
MOST_OPEN = 4_000


def audit_accuracy(
    store: Store,
    snapshot: Snapshot,
    answers: Mapping[int, OutOfFoldAnswer],
    predictor: Predictor,
) -> Audit | None:
    """The accuracy by the drawn tasks; None when none of them is labelled.

    Args:
        answers: of heads like the predictor's that had not seen the labels, by labelled task.
    """
    known = _labelled_answers(snapshot, answers)
    # What is skipped is neither labelled nor can it be drawn.
    usable = {
        task.ls_id
        for task in snapshot.tasks
        if task.image_error is None
        and (task.ls_id in known or task.ls_id not in snapshot.annotated)
    }
    received = snapshot.received
    labelled = sorted(usable & known.keys(), key=lambda task: (received.get(task, 0.0), task))
    row_of = {task: row for row, task in enumerate(labelled)}
    picks = [task for task in labelled if task in snapshot.drawn and task in answers]
    if not picks:
        return None
    times = np.array([received.get(task, 0.0) for task in labelled])
    draws = Draws(
        np.array([row_of[task] for task in picks], np.intp),
        np.searchsorted(times, [snapshot.drawn[task].at for task in picks]),
    )
    right, confidence = np.array([known[task] for task in labelled], np.float64).T
    return audit(
        draws,
        LabelledImages(right, confidence),
        open_confidence(store, snapshot, predictor),
        open_images=len(usable) - len(labelled),
    )


def _labelled_answers(
    snapshot: Snapshot, answers: Mapping[int, OutOfFoldAnswer]
) -> dict[TaskId, tuple[float, float]]:
    """{task: share of right suggestions, confidence} of labelled and of accepted tasks.

    What was accepted unseen is as right as the drawn tasks that are as sure: without it, the
    draws from before it was taken would speak for what is left, which is harder.
    """
    known = {
        TaskId(task): (float(answer.right), answer.confidence) for task, answer in answers.items()
    }
    least = min(snapshot.accepted.values(), default=0.0)
    as_sure = [
        answers[task].right
        for task in snapshot.drawn
        if task in answers and answers[task].confidence >= least
    ]
    if as_sure:
        share = float(np.mean(as_sure))
        unseen = snapshot.accepted.keys() - known.keys()
        known |= {task: (share, snapshot.accepted[task]) for task in unseen}
    return known


def open_confidence(store: Store, snapshot: Snapshot, predictor: Predictor) -> Floats:
    """The confidence [M] of the heads on open tasks: of the least sure control and image of each.

    Of more than MOST_OPEN tasks, on as many, drawn at random.
    """
    config, unlabelled = snapshot.config, snapshot.open
    ids = np.unique(np.array([task.ls_id for task in unlabelled], np.int64))
    part = set(np.random.default_rng(0).permutation(ids)[:MOST_OPEN].tolist())
    listed = [task for task in unlabelled if task.ls_id in part]
    tasks, x = load_vectors(store, predictor.space, listed)
    if not tasks:
        return np.zeros(0, np.float32)
    whole = np.array([task.item == ALL_IMAGES for task in tasks], np.bool_)
    sure: Float32s = np.ones(len(tasks), np.float32)
    for control in config.controls:
        learned = predictor.learned(control)
        if learned is None:
            continue
        rows = np.flatnonzero(whole != control.per_item) if config.multi_image else slice(None)
        confidence = learned.confidence(learned.head.logits(x[rows]))
        sure[rows] = np.minimum(sure[rows], np.nan_to_num(confidence))
    _, task_of_row = np.unique([task.ls_id for task in tasks], return_inverse=True)
    least: Float32s = np.ones(int(task_of_row.max()) + 1, np.float32)
    np.minimum.at(least, task_of_row, sure)
    return least
