"""Advises on active learning: accuracy, the gain of more labels, whether choosing pays.

Accuracy is estimated from random picks alone; successive versions are compared by Cohen's κ.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from model.active_learning.advice import Advice, Agreement, AuditedPick, Choosing, Outlook
from model.active_learning.learning_curve import LEAST_LABELS, fit_curve, measure
from model.active_learning.strategy_comparison import compare_arms
from model.active_learning.version_agreement import kappa, stable
from model.arrays import Ints
from model.statistics.folds import grouped_folds
from model.statistics.intervals import Estimate
from model.targets.kind import kind_of, same_kind
from model.training.control import ControlData
from model.training.subset_learners import Learners
from services.embedding.vectors import load_vectors
from services.reports.accuracy_audit import audit_accuracy
from services.reports.out_of_fold_answers import answers_of, out_of_fold_answers
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from services.training.candidate import Candidate
from services.training.train import Trained
from services.training.training_set import TrainingSet
from store.store import Store
from store.tasks.annotations import AnnotationRecord
from store.tasks.tasks import Task
from store.tasks.units import TaskId, UnitId, task_of

MORE = 100  # labels that the outlook is for
GROWN = 1.15  # more labels than the last time, or fewer: then curve and arms are measured again
FOLDS = 3
RANDOM_ENOUGH = 60  # random picks from which on the curve is measured on them alone
MOST_CURVE = 4_000  # labels, of the newest: more would take longer than they tell
PACE_LABELS = 200  # newest labels that tell the team's speed
FIXED_SET = 500  # images on which versions are compared
KEPT = 20  # agreements remembered


@dataclass(frozen=True)
class LabelHistory:
    """One control's labels with leak-free features, and when they were given."""

    labels: ControlData
    labelled_at: Mapping[UnitId, float]  # {unit: seconds since 1970}

    @classmethod
    def of(cls, trained: Trained, data: TrainingSet) -> "LabelHistory":
        """The labels of the control with the lowest accuracy."""
        return cls(trained.results[trained.hardest].out_of_fold, data.labelled_at)


def advise(
    store: Store, snapshot: Snapshot, candidate: Candidate, previous: Predictor | None
) -> Advice:
    """Advise by a candidate's out-of-fold answers; keep the last measurements of choosing.

    Args:
        previous: the version that was served before it.
    """
    last = snapshot.advice
    answers = out_of_fold_answers(candidate.trained.results)
    predictor = candidate.trained.predictor(snapshot.space)
    audited = audit_accuracy(store, snapshot, answers, predictor)
    agreement = _agreement(store, snapshot, candidate, previous, last)
    return Advice(
        at=snapshot.read_at,
        labels=len(snapshot.labels),
        accuracy=_rounded(audited.everything) if audited else None,
        open_accuracy=_rounded(audited.rest) if audited and audited.rest else None,
        seconds_per_label=seconds_per_label(snapshot.annotations),
        outlook=last.outlook if last else None,
        choosing=last.choosing if last else None,
        agreement=agreement,
        stable=stable([item.kappa for item in agreement]),
        picks=[
            AuditedPick(task, answer.confidence, not answer.right, answer.group)
            for task, answer in answers.items()
            if task in snapshot.drawn
        ],
    )


def continue_audit(
    advice: Advice, snapshot: Snapshot, candidate: Candidate, served: Predictor, since: float
) -> Advice:
    """Add to the served version's advice the random picks labelled since it was made.

    While candidates are refused, what it is right on is learned in this way alone.

    Args:
        advice: the served version's.
        candidate: the refused one, whose labels are looked at.
        since: when the served version was made, in seconds since 1970.
    """
    if served.space != candidate.data.space:
        return advice
    audited = {pick.task for pick in advice.picks}
    picks = [
        AuditedPick(task, answer.confidence, not answer.right, answer.group)
        for task, answer in answers_of(served.heads, candidate.trained.results).items()
        if task in snapshot.drawn
        and task not in audited
        and snapshot.received.get(TaskId(task), 0.0) > since
    ]
    return replace(advice, picks=[*advice.picks, *picks])


def is_measurement_due(advice: Advice) -> bool:
    """Whether there are clearly more or fewer labels than at the last measurement."""
    outlook = advice.outlook
    return outlook is None or not 1 / GROWN < advice.labels / outlook.labels < GROWN


def measure_choosing(snapshot: Snapshot, history: LabelHistory, advice: Advice) -> Advice:
    """Measure the learning curve, and whether choosing pays. Takes seconds.

    Returns:
        The advice with the new measurements, where the labels are enough for them.
    """
    learners = Learners(history.labels, seed=0)
    order = _in_order(history.labels, history.labelled_at)
    return replace(
        advice,
        outlook=_outlook(learners, order, snapshot) or advice.outlook,
        choosing=_choosing(learners, order, snapshot, advice.choosing) or advice.choosing,
    )


def seconds_per_label(annotations: Sequence[AnnotationRecord]) -> float | None:
    """The median working time on the newest labels; None when none has a time."""
    times = [a.lead_time for a in annotations[-PACE_LABELS:] if a.lead_time and a.lead_time > 0]
    return round(statistics.median(times), 2) if times else None


def _in_order(data: ControlData, labelled_at: Mapping[UnitId, float]) -> Ints:
    times = np.array([labelled_at.get(UnitId(int(unit)), 0.0) for unit in data.tasks])
    order: Ints = np.lexsort((data.tasks, times))[-MOST_CURVE:]
    return order


def _outlook(learners: Learners, order: Ints, snapshot: Snapshot) -> Outlook | None:
    data = learners.data
    if len(order) < 2 * LEAST_LABELS or len(np.unique(data.groups)) < FOLDS:
        return None
    drawn = np.array([task_of(UnitId(int(unit))) in snapshot.drawn for unit in data.tasks])
    at_random = int(drawn[order].sum()) >= RANDOM_ENOUGH
    asked = order[drawn[order]] if at_random else order
    folds = grouped_folds(data.strata, data.groups, FOLDS, seed=0)
    sizes, right = measure(learners.right, order, folds, asked)
    curve = fit_curve(sizes, right, seed=0)
    if curve is None:
        return None
    labels = len(data.tasks)
    return Outlook(
        labels=len(snapshot.labels),
        more=MORE,
        gain=_rounded(curve.gain(labels, MORE)),
        limit=_rounded(curve.limit()),
        at_random=at_random,
        rise=curve.rise,
    )


def _choosing(
    learners: Learners, order: Ints, snapshot: Snapshot, last: Choosing | None
) -> Choosing | None:
    """Compare chosen with drawn labels; choosing that was given up must win to come back."""
    tasks = [task_of(unit) for unit in learners.data.tasks.tolist()]
    first = min((draw.at for draw in snapshot.drawn.values()), default=None)
    if first is None:
        return None
    drawn = np.array([tasks[row] in snapshot.drawn for row in order])
    early = np.array([snapshot.received.get(tasks[row], 0.0) < first for row in order])
    common, chosen = order[early & ~drawn], order[~early & ~drawn]
    arms = compare_arms(learners.losses, common, chosen, order[drawn], seed=0)
    if arms is None:
        return None
    given_up = last is not None and last.at_random
    at_random = arms.gain.value <= 0 if given_up else arms.pays is False
    return Choosing(_rounded(arms.gain), arms.labels, arms.pays, at_random)


def _agreement(
    store: Store,
    snapshot: Snapshot,
    candidate: Candidate,
    previous: Predictor | None,
    last: Advice | None,
) -> list[Agreement]:
    """Cohen's κ with the previous version: the least of all controls, on fixed images."""
    earlier = list(last.agreement) if last else []
    if previous is None or previous.space != snapshot.space:
        return earlier
    x = _fixed_set(store, snapshot)
    values = []
    for name, result in candidate.trained.results.items():
        before = previous.heads.get(name)
        if before is None or not same_kind(before, result.head) or not len(x):
            continue
        target = result.target
        first, second = (h.decide(h.head.logits(x), target) for h in (before, result.head))
        agrees = partial(kind_of(target).agrees, target, tolerance=result.head.tolerance)
        values.append(kappa(first, second, agrees))
    if not values:
        return earlier
    return [*earlier, Agreement(len(snapshot.labels), _r(min(values)))][-KEPT:]


def _fixed_set(store: Store, snapshot: Snapshot) -> npt.NDArray[Any]:
    """Embeddings [M, D] of the same images at every version, where they exist."""
    tasks: list[Task] = [
        t for t in snapshot.tasks if t.image_key and t.embedded_space == snapshot.space
    ]
    # An image's key is a hash of its bytes: by its order images are as good as drawn at random.
    tasks.sort(key=lambda task: str(task.image_key))
    return load_vectors(store, snapshot.space, tasks[:FIXED_SET])[1]


def _rounded(measured: Estimate) -> Estimate:
    return Estimate(_r(measured.value), _r(measured.low), _r(measured.high), measured.n)


def _r(value: float) -> float:
    return round(value, 5)
