"""Marks of tasks that have a usable label, so that counting them reads no annotations.

Whatever changes a task's annotations, or how they are read, clears its mark. The tasks without a
mark are the only ones whose annotations have to be read to count labels. Beside its mark, a task
has what of its annotations can't be learned.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, select, update

from store.database.chunks import chunks
from store.database.locks import lock_content
from store.database.schema import annotation, task
from store.tasks.units import FIRST, TaskId

# Every webhook clears marks: the statements are made once.
_CLEAR_ALL = (
    update(task)
    .where(
        task.c.project_id == bindparam("of_project"),
        task.c.item == FIRST,
        exists().where(
            annotation.c.project_id == task.c.project_id, annotation.c.task_ls_id == task.c.ls_id
        ),
    )
    .values(labelled=None)
)
_CLEAR = _CLEAR_ALL.where(task.c.ls_id.in_(bindparam("ids", expanding=True)))


def clear_labelled(
    db: Connection, project_id: int, tasks: Collection[TaskId] | None = None
) -> None:
    """Clear the marks of these tasks, or of all, if they ever had an annotation."""
    lock_content(db, project_id)
    if tasks is None:
        db.execute(_CLEAR_ALL, {"of_project": project_id})
        return
    for ids in chunks(tasks):
        db.execute(_CLEAR, {"of_project": project_id, "ids": ids})


def _first_images(project_id: int) -> tuple[ColumnElement[bool], ...]:
    return (task.c.project_id == project_id, task.c.item == FIRST)


def set_labelled(
    db: Connection,
    project_id: int,
    labelled: Collection[TaskId],
    unlabelled: Collection[TaskId],
    faults: Mapping[TaskId, str] | None = None,
) -> None:
    """Mark these tasks as having a usable label, and those as having none.

    Args:
        faults: {task: what of its annotations can't be learned}, the same text for the same faults.
    """
    faults = faults or {}
    by_values: dict[tuple[bool, str | None], list[TaskId]] = {}
    for tasks, value in ((labelled, True), (unlabelled, False)):
        for each in tasks:
            by_values.setdefault((value, faults.get(each)), []).append(each)
    for (value, fault), tasks in by_values.items():
        for ids in chunks(tasks):
            db.execute(
                update(task)
                .where(*_first_images(project_id), task.c.ls_id.in_(ids))
                .values(labelled=value, label_faults=fault)
            )


@dataclass(frozen=True)
class FaultCount:
    """Marked tasks with the same faults: how many, and the first of them."""

    faults: str
    tasks: int
    first: TaskId


def count_faults(db: Connection, project_id: int) -> list[FaultCount]:
    """Count the marked tasks by what of their annotations can't be learned."""
    rows = db.execute(
        select(task.c.label_faults, func.count(), func.min(task.c.ls_id))
        .where(
            *_first_images(project_id),
            task.c.label_faults.is_not(None),
            task.c.labelled.is_not(None),
            task.c.deleted_at.is_(None),
        )
        .group_by(task.c.label_faults)
    )
    return [FaultCount(*row) for row in rows]


def count_labelled(db: Connection, project_id: int) -> int:
    """Count the tasks that are marked as having a usable label."""
    query = select(func.count()).where(
        *_first_images(project_id), task.c.labelled.is_(True), task.c.deleted_at.is_(None)
    )
    return db.execute(query).scalar_one()


def unmarked_tasks(db: Connection, project_id: int, limit: int | None = None) -> set[TaskId]:
    """The tasks without a mark, whose annotations are to be read."""
    query = select(task.c.ls_id).where(
        *_first_images(project_id), task.c.labelled.is_(None), task.c.deleted_at.is_(None)
    )
    return set(db.execute(query.order_by(task.c.ls_id).limit(limit)).scalars())
