"""The context of a running job: its project, lease, timings and progress."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from services.connections.clients import studio_for
from store.projects.projects import Project, get_project
from store.store import Store
from store.work import pending_work
from store.work.jobs import change_job
from studio.client import StudioClient


@dataclass
class JobContext:
    """A running job: its store, project, lease and timings."""

    store: Store
    project: Project
    lease: pending_work.Lease
    job_id: str
    announce: Callable[[], None] = lambda: None  # new work: call it after the commit requesting it
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
        """Write progress within the caller's transaction: one write less to wait for."""
        change_job(db, self.job_id, progress=min(max(fraction, 0.0), 1.0), message=message)

    def refresh(self) -> None:
        """Read the project from the database again."""
        with self.store.database.read() as db:
            project = get_project(db, self.project.id)
        assert project is not None, "projects are never forgotten"
        self.project = project

    def open_studio(self) -> StudioClient:
        """A client that changes nothing in Label Studio once the lease is lost; close it after use.

        A worker that was cut off or stopped for a while may wake up in the middle of its job, when
        another one has long taken over.
        """
        return studio_for(self.store, self.project.connection_id, before_change=self.check)

    def check(self) -> None:
        """Raise LeaseLostError when a newer job has begun: before every external effect."""
        with self.store.database.read() as db:
            pending_work.require_lease(db, self.lease)


TIME_BOX = 5.0  # seconds after which a job hands over to its successor, so that nobody starves
