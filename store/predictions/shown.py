"""The predictions that Label Studio was given, and the one that an annotator saw."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, update

from store.database.chunks import chunks
from store.database.schema import annotation, prediction
from store.predictions.publications import SWEPT, PredictionItem
from store.tasks.units import TaskId

Result = list[dict[str, Any]]

LATE = 5.0  # seconds; what Label Studio asks for as it opens a task is written down after that


@dataclass(frozen=True)
class Suggested:
    """A version's suggestion for a task. `result` is empty where nothing was shown."""

    version_id: int
    at: float  # when Label Studio was given it, seconds since 1970
    result: Result
    withheld: Result | None  # the suggestion of a task in the control group


def given_predictions(
    db: Connection, project_id: int, version_id: int, tasks: Collection[TaskId]
) -> dict[TaskId, PredictionItem]:
    """{task: the prediction of the version that Label Studio was given}, of those of `tasks`."""
    given: dict[TaskId, PredictionItem] = {}
    for ids in chunks(tasks):
        rows = db.execute(
            select(prediction).where(
                prediction.c.project_id == project_id,
                prediction.c.version_id == version_id,
                prediction.c.task_ls_id.in_(ids),
                prediction.c.source != SWEPT,
            )
        )
        for row in rows:
            task = TaskId(row.task_ls_id)
            given[task] = PredictionItem(task, row.score, row.result, row.withheld)
    return given


def suggestions_by_task(
    db: Connection, project_id: int, *, annotated_only: bool = False
) -> dict[TaskId, list[Suggested]]:
    """{task: its suggestions, the oldest first} of all tasks, or of those ever annotated."""
    asked = [prediction.c.project_id == project_id]
    if annotated_only:
        annotated = select(annotation.c.task_ls_id).where(annotation.c.project_id == project_id)
        asked.append(prediction.c.task_ls_id.in_(annotated))
    rows = db.execute(
        select(
            prediction.c.task_ls_id,
            prediction.c.version_id,
            prediction.c.at,
            prediction.c.result,
            prediction.c.withheld,
        )
        .where(*asked)
        .order_by(prediction.c.at, prediction.c.id)
    )
    suggestions: dict[TaskId, list[Suggested]] = {}
    for task, version_id, at, result, withheld in rows:
        suggestions.setdefault(task, []).append(Suggested(version_id, at, result, withheld))
    return suggestions


def delete_predictions(
    db: Connection, version_id: int, ls_ids: Collection[TaskId], annotated: Collection[TaskId]
) -> None:
    """Delete predictions that Label Studio no longer holds; of `annotated` tasks, mark them."""
    there = {*annotated}
    for ids in chunks([ls_id for ls_id in ls_ids if ls_id not in there]):
        db.execute(delete(prediction).where(*_of(version_id, ids)))
    for ids in chunks([ls_id for ls_id in ls_ids if ls_id in there]):
        db.execute(update(prediction).where(*_of(version_id, ids)).values(source=SWEPT))


def _of(version_id: int, ls_ids: Collection[TaskId]) -> tuple[ColumnElement[bool], ...]:
    return prediction.c.version_id == version_id, prediction.c.task_ls_id.in_(ls_ids)


def suggestion_when_opened(given: Sequence[Suggested], opened: float) -> Suggested | None:
    """The suggestion that the annotator saw: the newest when the task was `opened`.

    Label Studio names the prediction by an id of its own, which bulk imports don't tell us.
    """
    there = [suggested for suggested in given if suggested.at <= opened + LATE]
    return there[-1] if there else None
