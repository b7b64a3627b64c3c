"""The pool of unlabelled, embedded tasks that a shortlist is chosen from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from model.arrays import Floats
from model.selection import finite_rows
from model.targets.registry import Learned
from services.embedding.vectors import load_vectors
from store.store import Store
from store.tasks.tasks import Task

POOL = 20_000  # tasks looked at when there are more: a random part of them


LABELLED = 5_000  # labelled images that a strategy is told of: a random part of more


@dataclass(frozen=True)
class Pool:
    """Unlabelled, embedded images: the tasks that show them [N] and their embeddings [N, D]."""

    tasks: Sequence[int]
    x: Floats
    share: float = 1.0  # of all such tasks, drawn at random

    def part(self, rows: Sequence[int]) -> "Pool":
        """Some of the images."""
        return Pool([self.tasks[row] for row in rows], self.x[rows], self.share)


def load_pool(
    store: Store, space: str, tasks: Sequence[Task], *, seed: int, always: Collection[int] = ()
) -> Pool:
    """The tasks' images with their embeddings; of more than POOL, a random part and `always`."""
    listed = _part(tasks, POOL, seed, always)
    kept, x = load_vectors(store, space, listed)
    share = len({task.ls_id for task in listed}) / max(len({task.ls_id for task in tasks}), 1)
    return Pool([task.ls_id for task in kept], x, share)


def load_labelled(store: Store, space: str, tasks: Sequence[Task], *, seed: int) -> Floats:
    """The embeddings [L, D] of labelled `tasks`; of more than LABELLED, of a random part."""
    return load_vectors(store, space, _part(tasks, LABELLED, seed))[1]


def _part(tasks: Sequence[Task], most: int, seed: int, always: Collection[int] = ()) -> list[Task]:
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


def _one_image_each(pool: Pool, head: Learned | None) -> Pool:
    """Each task by the one of its images that the head knows least; without a head, by the first.

    A task is chosen as a whole: with all of its images, it would be drawn the likelier the more it
    has.
    """
    if len(set(pool.tasks)) == len(pool.tasks):
        return pool
    pool = pool.part(finite_rows(pool.x).tolist())
    sure = np.zeros(len(pool.tasks)) if head is None else head.spread(pool.x).max(axis=1)
    least: dict[int, int] = {}
    for row, task in enumerate(pool.tasks):
        if task not in least or sure[row] < sure[least[task]]:
            least[task] = row
    return pool.part(list(least.values()))
