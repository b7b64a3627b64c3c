"""Accepted suggestions: marked here only, or written to Label Studio as annotations."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from store.database.chunks import chunks
from store.database.schema import acceptance
from store.tasks.units import TaskId

# Only shown by us; to be written; the call has begun; in Label Studio; to be deleted there.
MARKED, WANTED, SENT, WRITTEN, WITHDRAWN = "marked", "wanted", "sent", "written", "withdrawn"


@dataclass(frozen=True)
class Acceptance:
    """One accepted suggestion."""

    task: TaskId
    version_id: int
    confidence: float
    result: list[dict[str, Any]]
    state: str
    annotation: int | None  # Label Studio's id, once written
    at: float


def list_acceptances(
    db: Connection, project_id: int, states: Collection[str] | None = None, limit: int | None = None
) -> list[Acceptance]:
    """The project's accepted suggestions, the oldest first."""
    query = select(acceptance).where(acceptance.c.project_id == project_id)
    if states is not None:
        query = query.where(acceptance.c.state.in_(states))
    query = query.order_by(acceptance.c.at, acceptance.c.task_ls_id).limit(limit)
    return [
        Acceptance(
            row.task_ls_id,
            row.version_id,
            row.confidence,
            row.result,
            row.state,
            row.annotation_ls_id,
            row.at,
        )
        for row in db.execute(query)
    ]


def count_acceptances(db: Connection, project_id: int) -> dict[str, int]:
    """Count the accepted suggestions by state."""
    rows = db.execute(
        select(acceptance.c.state, func.count().label("many"))
        .where(acceptance.c.project_id == project_id)
        .group_by(acceptance.c.state)
    )
    return {row.state: row.many for row in rows}


def written_confidences(db: Connection, project_id: int) -> dict[TaskId, float]:
    """{task: confidence} of the accepted suggestions that Label Studio holds."""
    rows = db.execute(
        select(acceptance.c.task_ls_id, acceptance.c.confidence).where(
            acceptance.c.project_id == project_id, acceptance.c.state == WRITTEN
        )
    )
    return {row.task_ls_id: row.confidence for row in rows}


def delete_unwritten(db: Connection, project_id: int) -> None:
    """Delete the accepted suggestions that were not sent to Label Studio yet."""
    db.execute(
        delete(acceptance).where(
            acceptance.c.project_id == project_id, acceptance.c.state.in_((MARKED, WANTED))
        )
    )


def add_acceptances(db: Connection, project_id: int, accepted: Sequence[Acceptance]) -> None:
    """Add accepted suggestions; tasks that have one keep it."""
    there: set[TaskId] = set()
    for ids in chunks([item.task for item in accepted]):
        query = select(acceptance.c.task_ls_id).where(
            acceptance.c.project_id == project_id, acceptance.c.task_ls_id.in_(ids)
        )
        there.update(db.execute(query).scalars())
    rows = [
        {
            "project_id": project_id,
            "task_ls_id": item.task,
            "version_id": item.version_id,
            "confidence": item.confidence,
            "result": item.result,
            "state": item.state,
            "at": item.at,
        }
        for item in accepted
        if item.task not in there
    ]
    if rows:
        db.execute(insert(acceptance), rows)


def set_acceptance_state(
    db: Connection,
    project_id: int,
    task: TaskId,
    state: str,
    annotation: int | None = None,
    *,
    was: str | None = None,
) -> bool:
    """Set the state of a task's accepted suggestion, if its state is `was` (None: any).

    Returns whether it was.
    """
    values: dict[str, Any] = {"state": state}
    if annotation is not None:
        values["annotation_ls_id"] = annotation
    conditions = [acceptance.c.project_id == project_id, acceptance.c.task_ls_id == task]
    if was is not None:
        conditions.append(acceptance.c.state == was)
    return db.execute(update(acceptance).where(*conditions).values(**values)).rowcount > 0


def withdraw(
    db: Connection, project_id: int, below: float = math.inf, tasks: Collection[TaskId] = ()
) -> int:
    """Mark written suggestions for deletion: those less sure than `below`, and those of `tasks`.

    Returns how many.
    """
    which = [acceptance.c.confidence < below]
    which += [acceptance.c.task_ls_id.in_(ids) for ids in chunks(tasks)]
    written = acceptance.c.project_id == project_id, acceptance.c.state.in_((SENT, WRITTEN))
    return sum(
        db.execute(update(acceptance).where(*written, one).values(state=WITHDRAWN)).rowcount
        for one in which
    )


def delete_acceptances(db: Connection, project_id: int, tasks: Collection[TaskId]) -> None:
    """Delete the accepted suggestions of tasks that a person labelled, or that are gone."""
    for ids in chunks(tasks):
        db.execute(
            delete(acceptance).where(
                acceptance.c.project_id == project_id, acceptance.c.task_ls_id.in_(ids)
            )
        )
