"""Jobs: their progress, the seconds that each step took, and their errors."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from store.database.schema import job
from store.work.work_kind import WorkKind

QUEUED = "queued"
STARTED = "started"
FINISHED = "finished"
FAILED = "failed"
CANCELLED = "cancelled"
LOST = "lost"  # its process was ended, or another job took its place
KEEP = 200  # jobs remembered for each project


@dataclass(frozen=True)
class Job:
    """A job that is queued, running or over. `progress` is 0 to 1; times since 1970."""

    id: str
    project_id: int
    kind: WorkKind
    generation: int
    state: str
    progress: float
    message: str
    timings: dict[str, float] | None
    error: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None


def _record(row: Row[Any]) -> Job:
    return Job(**(dict(row._mapping) | {"kind": WorkKind(row.kind)}))


def job_id(kind: str, project_id: int, generation: int) -> str:
    """The id of the job that does this kind of work for a project, in a generation."""
    return f"{kind}-{project_id}-g{generation}"


def add_job(db: Connection, project_id: int, kind: WorkKind, generation: int) -> str:
    """Add a job that is about to be enqueued, delete the oldest ones, and return its id."""
    added = job_id(kind, project_id, generation)
    db.execute(
        insert(job).values(
            id=added,
            project_id=project_id,
            kind=kind,
            generation=generation,
            state=QUEUED,
            created_at=time.time(),
        )
    )
    if generation % KEEP == 0:
        newest = (
            select(job.c.created_at)
            .where(job.c.project_id == project_id)
            .order_by(job.c.created_at.desc())
            .offset(KEEP)
            .limit(1)
            .scalar_subquery()
        )
        db.execute(delete(job).where(job.c.project_id == project_id, job.c.created_at < newest))
    return added


def change_job(db: Connection, of_job: str, **values: Any) -> None:
    """Set columns of the job."""
    db.execute(update(job).where(job.c.id == of_job).values(**values))


def end_job(db: Connection, of_job: str, **values: Any) -> None:
    """Set how the job ended, unless it was cancelled, lost, or failed before.

    A job that finished its work may fail afterwards.
    """
    db.execute(
        update(job)
        .where(job.c.id == of_job, job.c.ended_at.is_(None) | (job.c.state == FINISHED))
        .values(ended_at=time.time(), **values)
    )


def finish_jobs(db: Connection, project_id: int, kind: WorkKind, *, done: int) -> None:
    """End the started jobs whose work is done up to generation `done`.

    Their processes were killed before they could set it.
    """
    db.execute(
        update(job)
        .where(
            job.c.project_id == project_id,
            job.c.kind == kind,
            job.c.generation <= done,
            job.c.state == STARTED,
            job.c.ended_at.is_(None),
        )
        .values(state=FINISHED, ended_at=time.time())
    )


def cancel_jobs(db: Connection, project_id: int, kind: WorkKind) -> None:
    """Mark the jobs of this kind, waiting or under way, as cancelled."""
    db.execute(
        update(job)
        .where(job.c.project_id == project_id, job.c.kind == kind, job.c.ended_at.is_(None))
        .values(state=CANCELLED, ended_at=time.time(), message="cancelled")
    )


def get_job(db: Connection, of_job: str, *, lock: bool = False) -> Job | None:
    """The job; None when it is unknown, or was deleted.

    Args:
        lock: let nobody else change it before this transaction ends.
    """
    query = select(job).where(job.c.id == of_job)
    row = db.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _record(row)


def list_jobs(db: Connection, project_id: int, limit: int = 10) -> list[Job]:
    """The newest jobs of the project, those under way first."""
    rows = db.execute(
        select(job)
        .where(job.c.project_id == project_id)
        .order_by(job.c.ended_at.is_not(None), job.c.created_at.desc())
        .limit(limit)
    )
    return [_record(row) for row in rows]


def count_lost(db: Connection, project_id: int, kind: WorkKind, *, after: int) -> int:
    """Count the lost jobs of a kind with a generation above `after`."""
    query = select(func.count()).where(
        job.c.project_id == project_id,
        job.c.kind == kind,
        job.c.generation > after,
        job.c.state == LOST,
    )
    return db.execute(query).scalar_one()


def count_jobs(db: Connection) -> dict[tuple[str, str], int]:
    """Count the stored jobs by (kind, state)."""
    rows = db.execute(
        select(job.c.kind, job.c.state, func.count()).group_by(job.c.kind, job.c.state)
    )
    return {(kind, state): count for kind, state, count in rows}
