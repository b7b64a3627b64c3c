"""Projects that are watched by polling: what their syncs have to read, and how often.

A request for a sync means a look at everything, unless it was the poller's: it knows what changed.
"""

from sqlalchemy import Connection

from services.connections.reach import HEARD, REACH, connectivity, recheck_is_due
from services.sync.poll_report import POLL_REPORT
from store.projects.key_values import ProjectKey
from store.settings import Settings
from store.work import pending_work
from store.work.work_kind import WorkKind

# A whole sync is a safety net where the poller sees each change: so many times as rare there.
WATCHED_FACTOR = 10.0
FRESH_SECONDS = 150.0  # after its last report a poller is taken to watch no more

# The request for a sync up to which all that are not done are the poller's.
ONLY_CHANGES: ProjectKey[int] = ProjectKey("only_changes")


def request_changes(db: Connection, project_id: int, *, not_before: float | None = None) -> None:
    """Request a sync that reads changed tasks alone, unless a whole one is requested already."""
    key = ONLY_CHANGES.of(project_id)
    before = pending_work.get_work(db, project_id, WorkKind.SYNC, lock=True)
    is_alone = before is None or before.wanted in (before.done, key.get(db))
    pending_work.want(db, project_id, WorkKind.SYNC, not_before=not_before)
    requested = pending_work.get_work(db, project_id, WorkKind.SYNC)
    if is_alone and requested is not None:
        key.set(db, requested.wanted)


def wants_only_changes(db: Connection, lease: pending_work.Lease) -> bool:
    """Whether nobody but the poller asked for what the sync has to do."""
    return ONLY_CHANGES.of(lease.project_id).get(db) == lease.generation


def whole_sync_seconds(db: Connection, project_id: int, settings: Settings, now: float) -> float:
    """Seconds from one whole sync of the project to the next.

    They are longer while a poller watches, but not when it is to be checked again whether Label
    Studio may call, which a whole sync does.
    """
    report = POLL_REPORT.of(project_id).get(db)
    is_watched = report is not None and now - report.at < FRESH_SECONDS
    reach = REACH.of(project_id).get(db)
    is_check_due = reach is not None and recheck_is_due(
        reach, connectivity(reach, HEARD.of(project_id).get(db), now), now
    )
    return settings.reconcile_seconds * (WATCHED_FACTOR if is_watched and not is_check_due else 1.0)
