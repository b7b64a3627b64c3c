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
    """Make suggestions for those of `tasks` with an embedding, less the control group's.

    Returns:
        {task: suggestion}
    """
    suggestions = suggest_to_all(
        store, project, tasks, predictor, config, store.settings.min_confidence
    )
    return withhold(project, suggestions, store.settings.blind_share)


def suggest_to_all(
    store: Store,
    project: Project,
    tasks: Sequence[Task],
    predictor: Predictor,
    config: LabelConfig,
    least: float,
) -> dict[TaskId, Suggestion]:
    """Make suggestions for those of `tasks` with an embedding, the control group included.

    A task with several images is left out while one of them is not embedded.

    Args:
        least: the confidence (0 to 1) below which a suggestion is empty.

    Returns:
        {task: suggestion}
    """
    if config.multi_image:
        tasks = [task for task in tasks if task.usable]
    embedded, x = load_vectors(store, predictor.space, tasks)
    if config.multi_image and len(embedded) < len(tasks):
        units = {task.unit for task in embedded}
        waiting = {task.ls_id for task in tasks if task.unit not in units}
        rows = [row for row, task in enumerate(embedded) if task.ls_id not in waiting]
        embedded, x = [embedded[row] for row in rows], x[rows]
    data = None
    if config.reads_task_data:
        with store.database.read() as db:
            task_values = task_data(db, project.id, {task.ls_id for task in embedded})
        data = [task_values.get(task.ls_id, {}) for task in embedded]
    asked = [(task.ls_id, task.item) for task in embedded]
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
    """Make suggestions for rows of embeddings; rows of one task are joined.

    Args:
        asked: [N] the name and the item of each row.
        x: [N, D] embeddings.
        least: the confidence (0 to 1) below which a suggestion is empty.
        data: [N] of the tasks, where that matters.

    Returns:
        {name: suggestion}, as confident as its least confident row.
    """
    names = [name for name, _ in asked]
    if not any(control.multi_image or control.per_item for control in config.controls):
        return dict(zip(names, predictor.suggest(config, x, least, data), strict=True))
    suggestions: dict[Name, Suggestion] = {}
    for whole in (True, False):
        rows = [row for row, (_, item) in enumerate(asked) if (item == ALL_IMAGES) == whole]
        asks = config.at(whole=whole)
        if not rows or not any(map(predictor.learned, asks.controls)):
            continue
        offered = None if data is None else [data[row] for row in rows]
        items = [asked[row][1] for row in rows]
        answers = predictor.suggest(asks, x[rows], least, offered, items)
        for row, answered in zip(rows, answers, strict=True):
            name, item = asked[row]
            suggestion = replace(answered, result=_at(asks, answered.result, item))
            suggestions[name] = (
                suggestion if name not in suggestions else _both(suggestions[name], suggestion)
            )
    return {name: suggestions.get(name, NOTHING_LEARNED) for name in names}


def _at(config: LabelConfig, regions: Sequence[StudioRegion], item: int) -> list[StudioRegion]:
    """The regions, each with its image index where Label Studio needs one."""
    by_name = {control.name: control for control in config.controls}
    return [at_item(by_name[region.from_name], region, item) for region in regions]


def _both(first: Suggestion, second: Suggestion) -> Suggestion:
    return Suggestion(
        [*first.result, *second.result],
        min(first.confidence, second.confidence),
        {**first.intervals, **second.intervals},
    )
