"""Locks for transactions that read and then write, held until the transaction ends.

On SQLite they do nothing: it has one writer at a time. On PostgreSQL a transaction sees what others
commit meanwhile, and waits only for those who change the same rows; so whatever decides by what it
has read, or inserts a row because there is none, takes one of these first. To keep transactions
from waiting for one another in a circle: first the lease, then the project, then its content.
"""

from sqlalchemy import Connection, bindparam, func, select

from store.database.schema import project

_LOCK = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0)))
_PROJECT = (
    select(project.c.id)
    .where(project.c.id == bindparam("of_project"))
    .with_for_update(key_share=True)
)


def lock_name(db: Connection, name: str) -> None:
    """Wait until no other transaction holds the lock of this name, and take it."""
    if db.dialect.name == "postgresql":
        db.execute(_LOCK, {"name": name})


def lock_lease(db: Connection, project_id: int, kind: str) -> None:
    """Let no job of this kind begin, or lose its lease. Work can still be requested."""
    lock_name(db, f"lease:{project_id}:{kind}")


def lock_project(db: Connection, project_id: int) -> None:
    """Let nobody else decide what the project serves, shows next or moves to."""
    if db.dialect.name == "postgresql":
        db.execute(_PROJECT, {"of_project": project_id})


def lock_content(db: Connection, project_id: int) -> None:
    """Let nobody else change which tasks and annotations the project has."""
    lock_name(db, f"content:{project_id}")
