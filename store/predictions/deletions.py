"""Deletes tasks that were deleted in Label Studio, with everything stored about them.

Label Studio uses ids again, so nothing may stay that speaks of an old one.
"""

import time
from collections.abc import Collection

from sqlalchemy import Connection, delete, update

from store.database.chunks import chunks
from store.database.locks import lock_content
from store.database.schema import prediction, selection, task
from store.predictions.auto_accepts import delete_acceptances
from store.tasks.annotations import delete_annotations, task_annotations
from store.tasks.units import TaskId

DELETED = "deleted"  # in place of the strategy: what it chose is no more


def delete_tasks(db: Connection, project_id: int, ls_ids: Collection[TaskId]) -> int:
    """Mark tasks and their annotations as deleted.

    Their predictions, accepted suggestions and draws are deleted.

    Returns:
        How many tasks were not deleted already.
    """
    lock_content(db, project_id)
    deleted = 0
    now = time.time()
    for ids in chunks(ls_ids):
        of_tasks = (task.c.project_id == project_id, task.c.ls_id.in_(ids))
        deleted += db.execute(
            update(task).where(*of_tasks, task.c.deleted_at.is_(None)).values(deleted_at=now)
        ).rowcount
        db.execute(
            update(selection)
            .where(selection.c.project_id == project_id, selection.c.task_ls_id.in_(ids))
            .values(active=False, strategy=DELETED)
        )
        db.execute(
            delete(prediction).where(
                prediction.c.project_id == project_id, prediction.c.task_ls_id.in_(ids)
            )
        )
        delete_acceptances(db, project_id, ids)
        delete_annotations(db, project_id, task_annotations(db, project_id, ids))
    return deleted
