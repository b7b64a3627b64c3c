"""The advice of each version, as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from store.database.schema import advice, project

KEPT = 20  # versions of a project whose advice is kept, the newest; and that of the served one


@dataclass(frozen=True)
class StoredAdvice:
    """The advice as of `at`, in seconds since 1970."""

    at: float
    found: Mapping[str, Any]


def set_advice(db: Connection, project_id: int, version_id: int, stored: StoredAdvice) -> None:
    """Store a version's advice in place of an earlier one; delete that of old versions."""
    db.execute(delete(advice).where(advice.c.version_id == version_id))
    values = {"project_id": project_id, "version_id": version_id, "at": stored.at}
    db.execute(insert(advice).values(**values, found=dict(stored.found)))
    of_project = advice.c.project_id == project_id
    newest = select(advice.c.version_id).where(of_project).order_by(advice.c.version_id.desc())
    kept_versions = set(db.execute(newest.limit(KEPT)).scalars())
    served = select(project.c.served_version_id).where(project.c.id == project_id)
    kept_versions |= {db.execute(served).scalar() or version_id}
    db.execute(delete(advice).where(of_project, advice.c.version_id.not_in(kept_versions)))


def version_advice(db: Connection, version_id: int) -> StoredAdvice | None:
    """The advice of one version, if it is kept."""
    return _record(db.execute(select(advice).where(advice.c.version_id == version_id)).first())


def newest_advice(db: Connection, project_id: int) -> StoredAdvice | None:
    """The advice of the newest version that has one; None before the first."""
    query = select(advice).where(advice.c.project_id == project_id)
    return _record(db.execute(query.order_by(advice.c.version_id.desc()).limit(1)).first())


def _record(row: Row[Any] | None) -> StoredAdvice | None:
    return None if row is None else StoredAdvice(row.at, row.found)
