"""A project's running jobs, pending work and recent errors, as records."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from store.work.jobs import list_jobs
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind

ERRORS_SECONDS = 86_400  # errors of jobs are shown for a day
JOBS = 20  # newest jobs looked at


@dataclass(frozen=True)
class JobStatus:
    """A job. `progress` is 0 to 1; times are seconds since 1970."""

    id: str
    kind: str
    state: str
    progress: float
    message: str
    error: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    timings: dict[str, float] | None


@dataclass(frozen=True)
class WaitingStatus:
    """Pending work; `error` is why the last try failed."""

    kind: str
    since: float
    failures: int
    error: str | None
    next_try_at: float | None


@dataclass(frozen=True)
class ErrorStatus:
    """An error of the last day."""

    at: float
    source: str
    message: str


@dataclass(frozen=True)
class WorkStatus:
    """A project's running jobs, pending work and recent errors."""

    jobs: tuple[JobStatus, ...]  # under way
    waiting: tuple[WaitingStatus, ...]
    errors: tuple[ErrorStatus, ...]  # of the last day, the newest first


def project_work(db: Connection, project_id: int) -> WorkStatus:
    """Read the project's work from the store."""
    jobs = [JobStatus(*_job_values(job)) for job in list_jobs(db, project_id, JOBS)]
    waiting = _waiting(db, project_id)
    under_way = tuple(job for job in jobs if job.ended_at is None)
    return WorkStatus(under_way, waiting, _errors(jobs, waiting))


def _job_values(job: Any) -> tuple[Any, ...]:
    return tuple(getattr(job, name) for name in JobStatus.__dataclass_fields__)


def _waiting(db: Connection, project_id: int) -> tuple[WaitingStatus, ...]:
    now = time.time()
    found = []
    for kind in WorkKind:
        item = get_work(db, project_id, kind)
        if item is not None and item.wanted > item.done:
            next_try = item.not_before if item.not_before > now else None
            found.append(WaitingStatus(kind, item.wanted_at, item.failures, item.error, next_try))
    return tuple(found)


def _errors(jobs: Sequence[JobStatus], waiting: Sequence[WaitingStatus]) -> tuple[ErrorStatus, ...]:
    now = time.time()
    errors = [
        ErrorStatus(job.ended_at, job.id, job.error)
        for job in jobs
        if job.error and job.ended_at is not None and now - job.ended_at < ERRORS_SECONDS
    ]
    shown = {error.message for error in errors}
    errors += [
        ErrorStatus(now, item.kind, item.error)
        for item in waiting
        if item.error and item.error not in shown
    ]
    return tuple(sorted(errors, key=lambda error: -error.at))
