"""Decides when new labels are worth a new version."""

from sqlalchemy import Connection

from services.publishing.rate_limit import has_half_its_time
from store.predictions.publications import version_is_pending
from store.projects.projects import get_project
from store.settings import Settings
from store.versions.versions import START, get_version
from store.work import pending_work

DEBOUNCE = 0.3  # seconds without a new request, for work that needs no longer wait
PUSH_SECONDS = 60.0  # that the push of one version is waited for before the next is made


def learning_is_due(
    db: Connection, item: pending_work.Work, settings: Settings, now: float
) -> bool:
    """Whether to learn now: after enough new labels, and after fewer at once or at a pause.

    A version costs Label Studio a push. While our share of its time is well filled, even a single
    label is learned from at once; those that come meanwhile share the next version. After that,
    labels in a row share one until the annotator pauses.
    """
    quiet = now - item.touched_at
    project = get_project(db, item.project_id)
    if project is None or version_is_pending(db, project.id, now - PUSH_SECONDS):
        return False
    version = get_version(db, project.served_version_id) if project.served_version_id else None
    if version is None or version.kind == START:
        return quiet >= DEBOUNCE or now - item.wanted_at > 2.0
    enough = max(settings.publish_min_labels, 0.05 * version.labels)
    if item.wanted - item.done >= enough:
        return quiet >= DEBOUNCE or now - item.wanted_at > settings.publish_pause_seconds
    if has_half_its_time(db, project.id, settings.studio_share):
        return True
    return quiet >= settings.publish_pause_seconds
