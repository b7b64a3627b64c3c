"""The job guest: trains guest models, each in a process of its own."""

from sqlalchemy import Connection

from services.errors import GivenUpError
from services.guests.state import ASKED_FOR
from services.job_context import JobContext
from store.work import pending_work
from store.work.jobs import CANCELLED, FAILED, end_job
from store.work.work_kind import WorkKind
from worker.guests.access import GuestAccess
from worker.guests.fitting import GuestFitCancelledError, GuestFitting
from worker.jobs.cancellation import CancelWatch
from worker.jobs.runner import running


def run(project_id: int, generation: int) -> None:
    """Train the guests that have not seen today's annotations."""
    with running(WorkKind.GUEST, project_id, generation) as context:
        access = GuestAccess.open(context.store.settings)
        reasons: list[str] = []
        if access is not None:
            try:
                with CancelWatch(context, clear=lambda: None) as watch:
                    reasons = GuestFitting(context, access).run(watch.cancelled)
            except GuestFitCancelledError:
                context.store.database.write(
                    lambda db: end_job(db, context.job_id, state=CANCELLED, message="cancelled")
                )
                raise pending_work.LeaseLostError("the training was cancelled") from None
            finally:
                access.predictions.close()
        _finish(context, "; ".join(reasons))


def _finish(context: JobContext, reason: str) -> None:
    """End the job. A failed training is given up until there are other annotations."""

    def write(db: Connection) -> None:
        ASKED_FOR.of(context.project.id).delete(db)
        pending_work.finish(db, context.lease)
        pending_work.want(db, context.project.id, WorkKind.PREDICT)
        if reason:
            end_job(db, context.job_id, state=FAILED, error=reason)

    context.store.database.write(write)
    if reason:
        raise GivenUpError(reason)
