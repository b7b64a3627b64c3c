"""Versions, as the command line and the API show them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from services.versions.rollback import promote, rollback
from store.projects.projects import Project
from store.store import Store
from store.versions.versions import Version, list_versions


@dataclass(frozen=True)
class VersionRecord:
    """A version with its metrics, its status and the gate's verdict.

    `metrics` has `accuracy` (value, low, high, n) once labels were learned. Times are seconds since
    1970.
    """

    name: str
    kind: str
    status: str  # candidate, served, retired, refused
    labels: int
    metrics: dict[str, Any]
    verdict: str  # of the gate, in words
    embedding_space: str
    artifact: str | None  # digest
    created_at: float
    published_at: float | None


@dataclass(frozen=True)
class Decision:
    """The version that a rollback or promotion publishes.

    While it is `held`, versions that are learned later wait as candidates.
    """

    version: str
    held: bool


def version_records(db: Connection, project_id: int) -> list[VersionRecord]:
    """The project's versions, the newest first."""
    return [_version_record(version) for version in list_versions(db, project_id)]


def _version_record(version: Version) -> VersionRecord:
    return VersionRecord(
        name=version.name,
        kind=version.kind,
        status=version.status,
        labels=version.labels,
        metrics=dict(version.metrics),
        verdict=version.verdict,
        embedding_space=version.embedding_space,
        artifact=version.artifact,
        created_at=version.created_at,
        published_at=version.published_at,
    )


def decide(store: Store, project: Project, action: str, name: str | None) -> Decision:
    """Roll back or promote to the named version, or without a name to the one before or the newest.

    Raises:
        VersionError: it can't be served.
    """
    change = rollback if action == "rollback" else promote
    version = change(store, project, name)
    return Decision(version.name, held=action == "rollback")
