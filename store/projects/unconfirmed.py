"""Projects that only a request names, until Label Studio's API has confirmed them.

Anybody may send the request: it is a reason to ask Label Studio, and changes nothing else.
"""

import time

from sqlalchemy import Connection, delete, func, insert, select

from store.database.schema import project, runtime
from store.projects.key_values import REPAIR, ProjectKey
from store.projects.projects import Project, change_project, get_project, mark_older_gone
from store.work.pending_work import want
from store.work.work_kind import WorkKind

MOST = 50  # at a time, so that invented ones don't fill the database

# When a request named a project that is new, or gone, in seconds since 1970.
UNCONFIRMED: ProjectKey[float] = ProjectKey("unconfirmed")


def add_unconfirmed(
    db: Connection, connection_id: str, ls_id: int, ls_created: int
) -> Project | None:
    """Add a project with its ids alone, and have Label Studio asked; None when there are too many.

    A project that has the same id in Label Studio stays, until the new one is confirmed.
    """
    waiting = select(func.count()).where(runtime.c.name.startswith(f"{UNCONFIRMED.prefix}:"))
    if db.execute(waiting).scalar_one() >= MOST:
        return None
    key = db.execute(
        insert(project).values(
            connection_id=connection_id,
            ls_id=ls_id,
            ls_created=ls_created,
            title="",
            label_config="",
            served_fence=0,
        )
    ).inserted_primary_key
    assert key is not None
    ask_label_studio(db, int(key[0]))
    return get_project(db, int(key[0]))


def ask_label_studio(db: Connection, project_id: int) -> None:
    """Have the next sync confirm the project, also one that is gone."""
    now = time.time()
    UNCONFIRMED.of(project_id).set(db, now)
    REPAIR.of(project_id).set(db, now)
    want(db, project_id, WorkKind.SYNC)


def confirm(db: Connection, confirmed: Project) -> None:
    """Take the project as one of Label Studio's; older projects of its id are gone."""
    UNCONFIRMED.of(confirmed.id).delete(db)
    change_project(db, confirmed.id, gone_at=None)
    mark_older_gone(db, confirmed.connection_id, confirmed.ls_id, confirmed.ls_created)


def forget(db: Connection, invented: Project) -> None:
    """Delete a project of which nothing was ever read; one that is gone stays so."""
    UNCONFIRMED.of(invented.id).delete(db)
    if invented.reconciled_at is None and invented.connected_at is None and not invented.title:
        REPAIR.of(invented.id).delete(db)
        db.execute(delete(project).where(project.c.id == invented.id))
