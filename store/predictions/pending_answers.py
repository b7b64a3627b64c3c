"""Pending answers: tasks whose prediction in Label Studio is empty or lacks a guest's part."""

import time
from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select

from store.database.chunks import chunks
from store.database.schema import owed
from store.tasks.units import TaskId


def add_pending_answers(db: Connection, project_id: int, ls_ids: Collection[TaskId]) -> None:
    """Add tasks whose prediction, or a guest's part of it, was not ready."""
    pending = tasks_with_pending_answer(db, project_id)
    rows = [
        {"project_id": project_id, "task_ls_id": ls_id, "since": time.time()}
        for ls_id in set(ls_ids) - pending
    ]
    if rows:
        db.execute(insert(owed), rows)


def tasks_with_pending_answer(db: Connection, project_id: int) -> set[TaskId]:
    """The tasks whose answer is still to be completed."""
    query = select(owed.c.task_ls_id).where(owed.c.project_id == project_id)
    return set(db.execute(query).scalars())


def mark_answered(db: Connection, project_id: int, ls_ids: Collection[TaskId]) -> None:
    """Remove tasks that have their prediction now, or will never have one."""
    for ids in chunks(ls_ids):
        db.execute(delete(owed).where(owed.c.project_id == project_id, owed.c.task_ls_id.in_(ids)))
