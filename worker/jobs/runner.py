"""What every job does alike: open the store, take the lease, report, fail in words."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from services.connections.clients import UnknownConnectionError
from services.errors import JobError
from store.projects.projects import Project, get_project
from store.settings import Settings
from store.store import Store
from store.work import pending_work
from store.work.jobs import FAILED, FINISHED, LOST, STARTED, change_job, end_job, job_id
from studio.errors import StudioError

log = structlog.get_logger()

TIME_BOX = 5.0  # seconds after which a job hands over to its successor, so that nobody starves


@dataclass
class JobContext:
    """A job under way."""

    store: Store
    project: Project
    lease: pending_work.Lease
    job_id: str
    began: float = field(default_factory=time.monotonic)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self.began

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the job's timings."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.timings[name] = round(self.timings.get(name, 0.0) + spent, 4)

    def progress(self, fraction: float, message: str) -> None:
        """Show how far the job is (0 to 1)."""
        self.store.database.write(lambda db: self.note_progress(db, fraction, message))

    def note_progress(self, db: Connection, fraction: float, message: str) -> None:
        """The same as part of a transaction: each of their own is one more that others wait for."""
        change_job(db, self.job_id, progress=min(max(fraction, 0.0), 1.0), message=message)

    def refresh(self) -> None:
        """Read the project again, after it was changed."""
        with self.store.database.read() as db:
            project = get_project(db, self.project.id)
        assert project is not None, "projects are never forgotten"
        self.project = project

    def check(self) -> None:
        """Raise LeaseLostError when a newer job has begun: before every external effect."""
        with self.store.database.read() as db:
            pending_work.check(db, self.lease)


@contextmanager
def running(kind: str, project_id: int, generation: int) -> Iterator[JobContext]:
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


@contextmanager
def _leased(store: Store, kind: str, project_id: int, generation: int) -> Iterator[JobContext]:
    database, own = store.database, job_id(kind, project_id, generation)
    try:
        lease = database.write(lambda db: pending_work.begin(db, project_id, kind, generation))
    except pending_work.LeaseLostError as error:
        log.info("job not wanted any more", reason=str(error))
        _end(store, own, state=LOST, error=str(error))
        raise
    try:
        now = time.time()
        database.write(lambda db: change_job(db, own, state=STARTED, started_at=now))
        with database.read() as db:
            project = get_project(db, project_id)
        assert project is not None, "work refers to its project"
        context = JobContext(store, project, lease, own)
        yield context
    except pending_work.LeaseLostError as error:
        log.info("job superseded", reason=str(error))
        _end(store, own, state=LOST, error=str(error))
    except Exception as error:
        expected = isinstance(error, (StudioError, UnknownConnectionError, JobError))
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        log.warning("job failed", error=message, exc_info=not expected)
        database.write(lambda db: pending_work.fail(db, project_id, kind, message))
        _end(store, own, state=FAILED, error=message)
        if not expected:
            raise
    else:
        log.info("job finished", **context.timings)
        _end(store, own, state=FINISHED, progress=1.0, timings=context.timings)


def _end(store: Store, of_job: str, **values: object) -> None:
    store.database.write(lambda db: end_job(db, of_job, **values))
