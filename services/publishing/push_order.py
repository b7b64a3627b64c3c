"""Says which publication is pushed next, and when."""

from sqlalchemy import Connection

from services.publishing.rate_limit import low_priority_time
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import Publication, pending_publications
from store.versions.versions import get_version

# That the rest of a new version's shortlist waits, from when it is served. A label that is learned
# from in the meantime makes another version, and saves Label Studio the import.
REST_SECONDS = 3.0


def is_low_priority(publication: Publication) -> bool:
    """Whether a publication is pushed only while no other needs Label Studio's time."""
    return publication.reason in (PublicationReason.REFRESH, PublicationReason.APPLY)


def next_publication(
    db: Connection, project_id: int, share: float
) -> tuple[Publication | None, float]:
    """The publication to be pushed next, and the time (seconds since 1970) from which it may be.

    In their order, but what may wait comes after what needn't, and what has low priority last.
    """
    first, due = None, 0.0
    for publication in pending_publications(db, project_id):
        at = _due_time(db, publication, share)
        if first is None or (is_low_priority(publication), at) < (is_low_priority(first), due):
            first, due = publication, at
    return first, due


def _due_time(db: Connection, publication: Publication, share: float) -> float:
    if is_low_priority(publication):
        return low_priority_time(db, publication.project_id, share)
    if publication.reason is PublicationReason.REST:
        version = get_version(db, publication.version_id)
        return (version.published_at or 0.0) + REST_SECONDS if version else 0.0
    return 0.0
