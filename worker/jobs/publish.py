"""The job publish: pushes predictions within our share of Label Studio's time."""

import time

from sqlalchemy import Connection

from services.job_context import TIME_BOX, JobContext
from services.publishing.auto_accept_writer import write_accepted
from services.publishing.duplicates import delete_duplicates
from services.publishing.pending_answers import publish_pending_answers
from services.publishing.prediction_cleanup import delete_old_predictions
from services.publishing.push import Pusher
from services.publishing.push_order import next_publication
from services.publishing.rate_limit import draw
from services.publishing.relabel_tab import update_relabel_tab
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient
from worker.jobs.runner import running

GUEST_WAIT = 0.5  # seconds until a push looks again whether guest models have answered


def run(project_id: int, generation: int) -> None:
    """Push pending publications, for at most a time box; then rest for our share of the time."""
    with running(WorkKind.PUBLISH, project_id, generation) as context:
        studio = context.open_studio()
        try:
            pusher = Pusher(context, studio)
            more = _push(context, studio, pusher)
            with context.step("duplicates"):
                look_at = delete_duplicates(context, studio)
            wait = GUEST_WAIT if pusher.waits_for_guests else 0.0
            _rest(context, studio, more, look_at, wait=wait)
        finally:
            studio.close()


def _push(context: JobContext, studio: StudioClient, pusher: Pusher) -> bool:
    """Push by urgency, until the time box is used up. Returns whether more waits."""
    more_pending = publish_pending_answers(context)
    with context.step("push"):
        more = pusher.push_all()
    if not more and context.seconds < TIME_BOX:
        with context.step("accepted"):
            more = write_accepted(context, studio)
    if not more and context.seconds < TIME_BOX:
        with context.step("relabel"):
            update_relabel_tab(context, studio)
        with context.step("sweep"):
            more = delete_old_predictions(context, studio)
    return more or more_pending


def _rest(
    context: JobContext, studio: StudioClient, more: bool, look_at: float | None, *, wait: float
) -> None:
    """End the job; the next one, and the next version, wait until our share allows them.

    Args:
        look_at: when to look for second predictions.
        wait: seconds that the next job waits at least.
    """
    project_id = context.project.id
    spent, share = studio.seconds_spent, context.store.settings.studio_share

    def write(db: Connection) -> None:
        rested = draw(db, project_id, spent, share)
        pending_work.finish(db, context.lease, not_before=rested)
        pending_work.postpone(db, project_id, WorkKind.LEARN, rested)
        if more:
            _, due = next_publication(db, project_id, share)
            until = max(rested, due, time.time() + wait) if wait else max(rested, due)
            pending_work.want(db, project_id, WorkKind.PUBLISH, not_before=until)
        elif look_at is not None:
            pending_work.want(db, project_id, WorkKind.PUBLISH, not_before=max(rested, look_at))

    context.store.database.write(write)
