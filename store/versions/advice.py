"""The advice of a project's last learning, as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store.database.schema import advice


@dataclass(frozen=True)
class StoredAdvice:
    """The advice as of `at`, in seconds since 1970."""

    at: float
    found: Mapping[str, Any]


def set_advice(db: Connection, project_id: int, stored: StoredAdvice) -> None:
    """Store the advice in place of the last one."""
    db.execute(delete(advice).where(advice.c.project_id == project_id))
    db.execute(insert(advice).values(project_id=project_id, at=stored.at, found=dict(stored.found)))


def get_stored_advice(db: Connection, project_id: int) -> StoredAdvice | None:
    """The last advice; None before the first."""
    row = db.execute(select(advice).where(advice.c.project_id == project_id)).first()
    return None if row is None else StoredAdvice(row.at, row.found)
