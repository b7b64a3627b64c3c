"""Makes a version's suggestions for embedded tasks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from model.arrays import Floats
from services.embedding.vectors import load_vectors
from services.suggestions.control_group import withhold
from services.suggestions.predictor import Predictor, Suggestion, TaskData
from store.projects.projects import Project
from store.store import Store
from store.tasks.tasks import Task, task_data
from store.tasks.units import TaskId
from studio.config import LabelConfig
from studio.items import ALL_IMAGES, at_item
from studio.regions import StudioRegion


def suggest(
    store: Store,
    project: Project,
    tasks: Sequence[Task],
    predictor: Predictor,
    config: LabelConfig,
) -> dict[TaskId, Suggestion]:
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
) -> dict[TaskId, Suggestion]:
    """{task: suggestion} for those of `tasks` that have an embedding; `least` confident ones.

    Of a task with several images, all are to be there: it is left out while one is not embedded.
    """
    if config.multi_image:
        tasks = [task for task in tasks if task.usable]
    kept, x = load_vectors(store, predictor.space, tasks)
    if config.multi_image and len(kept) < len(tasks):
        there = {task.unit for task in kept}
        waiting = {task.ls_id for task in tasks if task.unit not in there}
        rows = [row for row, task in enumerate(kept) if task.ls_id not in waiting]
        kept, x = [kept[row] for row in rows], x[rows]
    data = None
    if config.reads_task_data:
        with store.database.read() as db:
            task_values = task_data(db, project.id, {task.ls_id for task in kept})
        data = [task_values.get(task.ls_id, {}) for task in kept]
    asked = [(task.ls_id, task.item) for task in kept]
    return suggest_together(predictor, config, asked, x, least, data)


NOTHING_LEARNED = Suggestion([], 0.0)

Name = TypeVar("Name", bound=int)  # a task's id, or a position in a request


def suggest_together(
    predictor: Predictor,
    config: LabelConfig,
    asked: Sequence[tuple[Name, int]],
    x: Floats,
    least: float,
    data: Sequence[TaskData] | None,
) -> dict[Name, Suggestion]:
    """{name: what is suggested for all rows of that name}, as sure as the least sure of them.

    Args:
        asked: [N] the name and the item of each row.
        x: [N, D] embeddings.
        data: [N] of the tasks, where that matters.
    """
    names = [name for name, _ in asked]
    if not any(control.multi_image or control.per_item for control in config.controls):
        return dict(zip(names, predictor.suggest(config, x, least, data), strict=True))
    found: dict[Name, Suggestion] = {}
    for whole in (True, False):
        rows = [row for row, (_, item) in enumerate(asked) if (item == ALL_IMAGES) == whole]
        asks = config.at(whole=whole)
        if not rows or not any(map(predictor.learned, asks.controls)):
            continue
        offered = None if data is None else [data[row] for row in rows]
        for row, one in zip(rows, predictor.suggest(asks, x[rows], least, offered), strict=True):
            name, item = asked[row]
            said = replace(one, result=_at(asks, one.result, item))
            found[name] = said if name not in found else _both(found[name], said)
    return {name: found.get(name, NOTHING_LEARNED) for name in names}


def _at(config: LabelConfig, regions: Sequence[StudioRegion], item: int) -> list[StudioRegion]:
    """The regions, naming the image that they are for where Label Studio asks for that."""
    by_name = {control.name: control for control in config.controls}
    return [at_item(by_name[region.from_name], region, item) for region in regions]


def _both(first: Suggestion, second: Suggestion) -> Suggestion:
    return Suggestion(
        [*first.result, *second.result],
        min(first.confidence, second.confidence),
        {**first.intervals, **second.intervals},
    )
