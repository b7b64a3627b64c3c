"""Model versions: their metrics, their artifacts and their status."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from store.database.schema import version
from store.versions.version_metrics import VersionMetrics

CANDIDATE, SERVED, RETIRED, REFUSED = "candidate", "served", "retired", "refused"
# Kinds: an order before the first label; fitted heads; the first heads on a fine-tuned backbone.
START, HEAD, FINETUNE = "start", "head", "finetune"
GUEST = "guest"  # the suggestions of guest models alone


def version_name(number: int) -> str:
    """The name that people and Label Studio see."""
    return f"apprentice v{number}"


@dataclass(frozen=True)
class Version:
    """A model version. Times are seconds since 1970."""

    id: int
    project_id: int
    number: int
    kind: str
    status: str
    embedding_space: str
    labels: int
    labels_digest: str
    metrics: VersionMetrics
    verdict: str
    artifact: str | None
    created_at: float
    published_at: float | None
    superseded_at: float | None
    swept_at: float | None

    @property
    def name(self) -> str:
        """The name that people and Label Studio see."""
        guests = self.metrics.get("guests")
        return version_name(self.number) + (f" + {guests}" if guests else "")


def add_version(
    db: Connection,
    project_id: int,
    *,
    kind: str,
    status: str,
    embedding_space: str,
    labels: int,
    labels_digest: str,
    metrics: VersionMetrics,
    verdict: str,
    artifact: str | None,
) -> Version:
    """Create the project's next version; the start version has number 0."""
    highest = db.execute(
        select(func.max(version.c.number)).where(version.c.project_id == project_id)
    ).scalar()
    number = 0 if kind == START else max(highest or 0, 0) + 1
    row = db.execute(
        insert(version)
        .values(
            project_id=project_id,
            number=number,
            kind=kind,
            status=status,
            embedding_space=embedding_space,
            labels=labels,
            labels_digest=labels_digest,
            metrics=metrics,
            verdict=verdict,
            artifact=artifact,
            created_at=time.time(),
        )
        .returning(version)
    ).one()
    return Version(**row._mapping)


def get_version(db: Connection, version_id: int) -> Version | None:
    """The version by our own id."""
    row = db.execute(select(version).where(version.c.id == version_id)).first()
    return None if row is None else Version(**row._mapping)


def find_version(db: Connection, project_id: int, number: int) -> Version | None:
    """The project's version of that number."""
    row = db.execute(
        select(version).where(version.c.project_id == project_id, version.c.number == number)
    ).first()
    return None if row is None else Version(**row._mapping)


def list_versions(db: Connection, project_id: int, limit: int | None = None) -> list[Version]:
    """The project's versions, the newest first."""
    query = select(version).where(version.c.project_id == project_id)
    rows = db.execute(query.order_by(version.c.number.desc()).limit(limit))
    return [Version(**row._mapping) for row in rows]


def newest_version(db: Connection, project_id: int) -> Version | None:
    """The newest version, whatever its status."""
    return _newest(db, project_id)


def served_before(db: Connection, served: Version) -> Version | None:
    """The version of learned heads that was served before this one, if it can be served again."""
    return _newest(
        db,
        served.project_id,
        version.c.number < served.number,
        version.c.published_at.is_not(None),
        version.c.artifact.is_not(None),
    )


def newest_candidate(db: Connection, project_id: int) -> Version | None:
    """The newest version that waits for a person to publish it."""
    return _newest(db, project_id, version.c.status == CANDIDATE, version.c.artifact.is_not(None))


def _newest(db: Connection, project_id: int, *such: ColumnElement[bool]) -> Version | None:
    query = select(version).where(version.c.project_id == project_id, *such)
    row = db.execute(query.order_by(version.c.number.desc()).limit(1)).first()
    return None if row is None else Version(**row._mapping)


def mark_served(db: Connection, served: Version) -> None:
    """Mark the version as served: Label Studio shows it, and no other.

    Older candidates are retired with what was served; newer ones, made while a person held on to
    this version, can still be promoted.
    """
    now = time.time()
    others = (
        version.c.project_id == served.project_id,
        version.c.id != served.id,
        or_(
            version.c.status == SERVED,
            and_(version.c.status == CANDIDATE, version.c.number < served.number),
        ),
    )
    db.execute(update(version).where(*others).values(status=RETIRED, superseded_at=now))
    db.execute(
        update(version)
        .where(version.c.id == served.id)
        .values(
            status=SERVED,
            published_at=func.coalesce(version.c.published_at, now),
            superseded_at=None,
            swept_at=None,  # its predictions are there again
        )
    )


def versions_to_sweep(db: Connection, project_id: int, before: float) -> list[Version]:
    """The versions superseded before `before` whose predictions Label Studio still holds."""
    rows = db.execute(
        select(version)
        .where(
            version.c.project_id == project_id,
            version.c.superseded_at < before,
            version.c.swept_at.is_(None),
        )
        .order_by(version.c.number)
    )
    return [Version(**row._mapping) for row in rows]


def hardest_control(version: Version) -> str | None:
    """The control with the lowest accuracy; None for a version without heads."""
    controls = version.metrics.get("controls") or {}
    values = {name: control["accuracy"]["value"] for name, control in controls.items()}
    return min(values, key=values.__getitem__, default=None)


def change_version(db: Connection, version_id: int, **values: Any) -> None:
    """Set columns of the version."""
    db.execute(update(version).where(version.c.id == version_id).values(**values))


def mark_swept(db: Connection, version_id: int) -> None:
    """Mark the version's predictions as deleted in Label Studio."""
    change_version(db, version_id, swept_at=time.time())
