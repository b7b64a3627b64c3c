"""Runs the body of a job: opens the store, takes the lease, records how the job ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from rq import get_current_job
from sqlalchemy import Connection

from services.connections.clients import UnknownConnectionError
from services.errors import JobError
from services.job_context import JobContext
from store.files.artifacts import ArtifactError
from store.files.storage import StorageError
from store.projects.projects import get_project
from store.settings import Settings
from store.store import Store
from store.work import pending_work
from store.work.jobs import FAILED, FINISHED, LOST, STARTED, change_job, end_job, job_id
from store.work.work_kind import WorkKind
from studio.errors import StudioError
from worker.jobs.wake_up import wake_scheduler

# Their messages say what happened, and where it happened tells nobody more.
EXPECTED = (StudioError, UnknownConnectionError, JobError, ArtifactError, StorageError)

log = structlog.get_logger()


@contextmanager
def running(kind: WorkKind, project_id: int, generation: int) -> Iterator[JobContext]:
    """Run the body as the job `KIND-PROJECT-gGENERATION`.

    The body calls `work.finish` in its last transaction. When it raises, the work stays wanted
    and is tried again after a wait; a lost lease ends it without a trace.
    """
    with structlog.contextvars.bound_contextvars(job=job_id(kind, project_id, generation)):
        store = Store.open(Settings())
        try:
            with _leased(store, kind, project_id, generation) as context:
                yield context
        finally:
            store.close()
            _announce()


@contextmanager
def _leased(store: Store, kind: WorkKind, project_id: int, generation: int) -> Iterator[JobContext]:
    database, own = store.database, job_id(kind, project_id, generation)

    def begin(db: Connection) -> pending_work.Lease:
        lease = pending_work.begin(db, project_id, kind, generation)
        change_job(db, own, state=STARTED, started_at=time.time())
        return lease

    def fail(db: Connection, message: str) -> None:
        try:
            pending_work.check(db, lease)
        except pending_work.LeaseLostError as error:  # its successor's work hasn't failed
            end_job(db, own, state=LOST, error=f"{error}; {message}")
            return
        pending_work.fail(db, project_id, kind, message)
        end_job(db, own, state=FAILED, error=message)

    try:
        lease = database.write(begin)
    except pending_work.LeaseLostError as error:
        log.info("job no longer needed", reason=str(error))
        _end(store, own, state=LOST, error=str(error))
        raise
    try:
        with database.read() as db:
            project = get_project(db, project_id)
        assert project is not None, "work refers to its project"
        context = JobContext(store, project, lease, own, _announce)
        yield context
    except pending_work.LeaseLostError as error:
        log.info("job superseded", reason=str(error))
        _end(store, own, state=LOST, error=str(error))
    except Exception as error:
        expected = isinstance(error, EXPECTED)
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        log.warning("job failed", error=message, exc_info=not expected)
        database.write(lambda db: fail(db, message))
        if not expected:
            raise
    else:
        log.info("job finished", **context.timings)
        _end(store, own, state=FINISHED, progress=1.0, timings=context.timings)


def _end(store: Store, of_job: str, **values: object) -> None:
    store.database.write(lambda db: end_job(db, of_job, **values))


def _announce() -> None:
    job = get_current_job()
    if job is not None:  # a test runs jobs without a queue
        wake_scheduler(job.connection)


def worker_of_this_job() -> str:
    """The name of the worker that runs this job; empty outside of a worker."""
    job = get_current_job()
    return (job.worker_name or "") if job is not None else ""
