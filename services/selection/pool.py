"""The pool: unlabelled, embedded tasks that a shortlist is chosen from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.arrays import Floats
from model.selection import Pool, ShortlistRequest, finite_rows
from model.targets.learned import Learned
from services.embedding.vectors import load_vectors
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from store.store import Store
from store.tasks.tasks import Task
from store.tasks.units import TaskId

POOL = 20_000  # images looked at when there are more: a random part of them
LABELLED = 5_000  # labelled images that a strategy is given: a random part of more


@dataclass(frozen=True)
class TaskPool:
    """Images that can be chosen, each for its task.

    Attributes:
        tasks: [N] the task of each image.
        images: their embeddings and predictions.
        share: the share of all such tasks that is in the pool, drawn at random.
    """

    tasks: Sequence[TaskId]
    images: Pool
    share: float = 1.0

    def in_rows(self, request: ShortlistRequest) -> ShortlistRequest:
        """Name the tasks of a request by their rows; those that aren't in the pool are left out.

        The probability of a draw counts how its task came into the pool already.
        """
        rows: dict[int, int] = {task: row for row, task in enumerate(self.tasks)}
        drawn_before = {
            rows[task]: None if p is None else p / self.share
            for task, p in request.drawn_before.items()
            if task in rows
        }
        listed = [rows[task] for task in request.listed if task in rows]
        return replace(request, drawn_before=drawn_before, listed=listed)


def task_pool(
    store: Store,
    snapshot: Snapshot,
    predictor: Predictor,
    hardest: str | None,
    *,
    seed: int,
    shown: Collection[TaskId] = (),
    listed: Collection[TaskId] = (),
) -> TaskPool:
    """Build the pool of the project's open tasks.

    Args:
        hardest: the control whose predictions count first; None while nothing can be predicted.
        seed: draws the part that is looked at where there are many images.
        shown: tasks that are left out, since Label Studio holds a prediction of theirs.
        listed: tasks that stay on the shortlist, and are in the pool in any case.
    """
    always = {*snapshot.waiting, *listed}
    tasks, x, share = load_images(store, predictor.space, snapshot.open, seed=seed, always=always)
    left_out = {*shown} - {*listed}
    if left_out:
        rows = [row for row, task in enumerate(tasks) if task not in left_out]
        tasks, x = [tasks[row] for row in rows], x[rows]
    labelled = [task for task in snapshot.tasks if task.unit in snapshot.labels]
    return pool_of(
        tasks,
        x,
        _heads(predictor, hardest),
        seed=seed + len(snapshot.annotations),  # random picks differ from one time to the next
        labelled=load_labelled(store, predictor.space, labelled, seed=seed),
        share=share,
    )


def pool_of(
    tasks: Sequence[TaskId],
    x: Floats,
    heads: Sequence[Learned],
    *,
    seed: int,
    labelled: Floats | None = None,
    share: float = 1.0,
) -> TaskPool:
    """Build the pool of images: their tasks [N] and their embeddings [N, D].

    Args:
        heads: what predicts, the one that counts first at the front.
        seed: of the pool.
        labelled: [L, D] embeddings of labelled images.
        share: the share of all tasks that is in `tasks`.
    """
    tasks, x = _one_image_each(tasks, x, heads[0] if heads else None)

    def predict(rows: Floats) -> tuple[Floats, ...]:
        return tuple(head.spread(rows) for head in heads)

    images = Pool(x, (), seed, predict=predict if heads else None)
    return TaskPool(
        tasks, images if labelled is None else replace(images, labelled=labelled), share
    )


def load_images(
    store: Store, space: str, tasks: Sequence[Task], *, seed: int, always: Collection[TaskId] = ()
) -> tuple[list[TaskId], Floats, float]:
    """Load the embeddings [N, D] of the tasks' images, of more than POOL of a random part.

    Args:
        always: tasks that are in the part in any case.

    Returns:
        The task of each image, the embeddings, and the share of the tasks that is in the part.
    """
    listed = _part(tasks, POOL, seed, always)
    embedded, x = load_vectors(store, space, listed)
    share = len({task.ls_id for task in listed}) / max(len({task.ls_id for task in tasks}), 1)
    return [task.ls_id for task in embedded], x, share


def load_labelled(store: Store, space: str, tasks: Sequence[Task], *, seed: int) -> Floats:
    """Load the embeddings [L, D] of labelled `tasks`; of more than LABELLED, of a random part."""
    return load_vectors(store, space, _part(tasks, LABELLED, seed))[1]


def _heads(predictor: Predictor, hardest: str | None) -> list[Learned]:
    """All heads, the hardest control's first; none while that control has no head."""
    first = predictor.heads.get(hardest) if hardest else None
    if first is None:
        return []
    return [first, *(head for head in predictor.heads.values() if head is not first)]


def _part(
    tasks: Sequence[Task], most: int, seed: int, always: Collection[TaskId] = ()
) -> list[Task]:
    """All images of as many tasks, drawn at random, as together have at most about `most`.

    Those of the tasks `always` are there as well.
    """
    if len(tasks) <= most:
        return list(tasks)
    ids = list(dict.fromkeys(task.ls_id for task in tasks))
    count = max(1, most * len(ids) // len(tasks))
    drawn = np.random.default_rng(seed).choice(len(ids), count, replace=False)
    taken = {*always, *(ids[i] for i in drawn)}
    return [task for task in tasks if task.ls_id in taken]


def _one_image_each(
    tasks: Sequence[TaskId], x: Floats, head: Learned | None
) -> tuple[Sequence[TaskId], Floats]:
    """Keep one image of each task: the one that the head is least certain of, else the first.

    A task is chosen as a whole: with all of its images, it would be drawn the likelier the more it
    has.
    """
    if len(set(tasks)) == len(tasks):
        return tasks, x
    finite = finite_rows(x)
    certainty = np.zeros(len(finite)) if head is None else head.spread(x[finite]).max(axis=1)
    least: dict[TaskId, int] = {}  # {task: index into `finite`}
    for index, row in enumerate(finite.tolist()):
        task = tasks[row]
        if task not in least or certainty[index] < certainty[least[task]]:
            least[task] = index
    rows = finite[list(least.values())]
    return [tasks[row] for row in rows.tolist()], x[rows]
