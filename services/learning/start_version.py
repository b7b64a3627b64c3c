"""The start version, which orders the tasks before the first label."""

from sqlalchemy import Connection

from services.snapshot import Snapshot
from store.versions.versions import CANDIDATE, START, Version, add_version, find_version


def start_version(db: Connection, project_id: int, space: str) -> Version:
    """The project's start version, created if it is missing."""
    version = find_version(db, project_id, 0)
    if version is not None:
        return version
    return add_version(
        db,
        project_id,
        kind=START,
        status=CANDIDATE,
        embedding_space=space,
        labels=0,
        labels_digest="",
        metrics={},
        verdict="an order to begin with",
        artifact=None,
    )


def pool_has_grown(snapshot: Snapshot) -> bool:
    """Whether, before the first label, the pool has grown much since it was ordered."""
    served = snapshot.served
    if served is None:
        return True
    return served.kind == START and len(snapshot.open) > 2 * served.metrics.get("pool", 0)
