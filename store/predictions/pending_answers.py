"""Tasks that were answered with nothing because the real answer was not ready."""

import time
from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select

from store.database.chunks import chunks
from store.database.schema import owed
from store.tasks.units import TaskId


def owe(db: Connection, project_id: int, ls_ids: Collection[TaskId]) -> None:
    """Remember tasks that got an empty answer because the real one was not ready."""
    known = owed_tasks(db, project_id)
    rows = [
        {"project_id": project_id, "task_ls_id": ls_id, "since": time.time()}
        for ls_id in set(ls_ids) - known
    ]
    if rows:
        db.execute(insert(owed), rows)


def owed_tasks(db: Connection, project_id: int) -> set[TaskId]:
    """Tasks whose empty answer is still to be replaced."""
    query = select(owed.c.task_ls_id).where(owed.c.project_id == project_id)
    return set(db.execute(query).scalars())


def settle(db: Connection, project_id: int, ls_ids: Collection[TaskId]) -> None:
    """Note that these tasks have their real prediction, or never can."""
    for ids in chunks(ls_ids):
        db.execute(delete(owed).where(owed.c.project_id == project_id, owed.c.task_ls_id.in_(ids)))
