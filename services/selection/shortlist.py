"""Which tasks are labelled next, and what Label Studio is given for them."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.registry import UnknownNameError
from model.selection import AUTO, Pick, cold_start, finite_rows, shortlist
from model.selection.registry import STRATEGIES
from model.targets.registry import Learned
from services.labels.multi_image import suggest_together, vectors_of
from services.suggestions.control_group import withhold
from services.suggestions.predictor import Predictor, Suggestion, rest_score, shortlist_score
from store.predictions.publications import Item
from store.predictions.shortlists import Choice
from store.projects.projects import Project
from store.settings import Settings
from store.store import Store
from store.tasks.annotations import AnnotationRecord
from store.tasks.tasks import Task, task_data
from studio.config import LabelConfig

Floats = npt.NDArray[np.floating[Any]]

POOL = 20_000  # tasks looked at when there are more: a random part of them
SHORTLIST_MOST = 1_000  # tasks, however fast the team is
LABELLED = 5_000  # labelled images that a strategy is told of: a random part of more
PACE_SECONDS = 1_800  # over which the team's speed is measured


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


def load_vectors(store: Store, space: str, tasks: Sequence[Task]) -> tuple[list[Task], Floats]:
    """Those of `tasks` that have an embedding, and their embeddings [N, D]."""
    vectors = vectors_of(store, space, [task.image_key for task in tasks if task.image_key])
    kept = [task for task in tasks if task.image_key in vectors]
    if not kept:
        return [], np.empty((0, 0), np.float16)
    return kept, np.stack([vectors[str(task.image_key)] for task in kept])


def strategy_of(settings: Settings) -> tuple[str, str | None]:
    """The strategy that is set, or `auto` and what is wrong with the setting."""
    try:
        STRATEGIES.get(settings.strategy)
    except UnknownNameError as error:
        return AUTO, f"APPRENTICE_STRATEGY: {error}"
    return settings.strategy, None


def shortlist_size(settings: Settings, annotations: Sequence[AnnotationRecord]) -> int:
    """So many tasks as the team labels in `shortlist_minutes` at its measured speed."""
    since = time.time() - PACE_SECONDS
    recent = sum(annotation.updated_at > since for annotation in annotations)
    pace = recent / PACE_SECONDS * settings.shortlist_minutes * 60
    return min(max(settings.shortlist_min, round(pace)), SHORTLIST_MOST)


def choose(
    pool: Pool,
    predictor: Predictor,
    hardest: str | None,
    size: int,
    *,
    seed: int,
    strategy: str = AUTO,
    labelled: Floats | None = None,
    random_share: float = 0.1,
    drawn_before: Mapping[int, float | None] | None = None,
    listed: Collection[int] = (),
) -> list[Choice]:
    """The shortlist in order: by a strategy where there is a head, else the most typical images.

    All controls that are learned count, the `hardest` as the first.

    Args:
        labelled: the embeddings [L, D] of labelled tasks.
        random_share: of the tasks, that is drawn at random.
        drawn_before: {task: probability} of draws that nobody has labelled yet.
        listed: tasks that stay on the list, and which these are to follow.
    """
    if not pool.tasks:
        return []
    pool = _one_image_each(pool, predictor.heads.get(hardest) if hardest else None)
    rows = {task: row for row, task in enumerate(pool.tasks)}
    before = [rows[task] for task in listed if task in rows]
    picks: list[Pick]
    if hardest is None or hardest not in predictor.heads:
        picks = cold_start(pool.x, size, seed=seed, strategy=strategy, listed=before)
    else:
        first = predictor.heads[hardest]
        heads = [first, *(head for head in predictor.heads.values() if head is not first)]

        def ask(x: Floats) -> tuple[Floats, ...]:
            return tuple(head.spread(x) for head in heads)

        picks = shortlist(
            pool.x,
            None,
            size,
            seed=seed,
            random_share=random_share,
            strategy=strategy,
            labelled=labelled,
            ask=ask,
            # Their chance counts how they came into the pool already.
            drawn_before={
                rows[task]: None if p is None else p / pool.share
                for task, p in (drawn_before or {}).items()
                if task in rows
            },
            listed=before,
        )
    return [
        Choice(
            pool.tasks[pick.index],
            pick.strategy,
            None if pick.probability is None else pick.probability * pool.share,
        )
        for pick in picks
    ]


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


def suggest(
    store: Store,
    project: Project,
    tasks: Sequence[Task],
    predictor: Predictor,
    config: LabelConfig,
) -> dict[int, Suggestion]:
    """What is shown for those of the project's `tasks` that have an embedding, by task.

    Blind tasks have theirs withheld.
    """
    found = answers(store, project, tasks, predictor, config, store.settings.min_confidence)
    return withhold(project, found, store.settings.blind_share)


def answers(
    store: Store,
    project: Project,
    tasks: Sequence[Task],
    predictor: Predictor,
    config: LabelConfig,
    least: float,
) -> dict[int, Suggestion]:
    """{task: suggestion} for those of `tasks` that have an embedding; `least` confident ones.

    Of a task with several images, all are to be there: it is left out while one is not embedded.
    """
    if config.several:
        tasks = [task for task in tasks if task.usable]
    kept, x = load_vectors(store, predictor.space, tasks)
    if config.several and len(kept) < len(tasks):
        there = {task.unit for task in kept}
        waiting = {task.ls_id for task in tasks if task.unit not in there}
        rows = [row for row, task in enumerate(kept) if task.ls_id not in waiting]
        kept, x = [kept[row] for row in rows], x[rows]
    data = None
    if config.reads_task_data:
        with store.database.read() as db:
            known = task_data(db, project.id, {task.ls_id for task in kept})
        data = [known.get(task.ls_id, {}) for task in kept]
    asked = [(task.ls_id, task.item) for task in kept]
    return suggest_together(predictor, config, asked, x, least, data)


def shortlist_items(
    choices: Sequence[Choice], suggestions: dict[int, Suggestion], *, first: int = 0
) -> list[Item]:
    """What to push for a shortlist that begins at the place `first`."""
    return [
        Item(
            choice.task,
            shortlist_score(place),
            suggestions[choice.task].result,
            suggestions[choice.task].withheld,
        )
        for place, choice in enumerate(choices, first)
        if choice.task in suggestions
    ]


def rest_items(tasks: Sequence[int], suggestions: dict[int, Suggestion]) -> list[Item]:
    """What to push for tasks that are not on the shortlist."""
    return [
        Item(task, rest_score(found.confidence), found.result, found.withheld)
        for task in tasks
        if (found := suggestions.get(task)) is not None
    ]
