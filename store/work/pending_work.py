"""Pending work: the table guarantees that it is done; the queue only wakes workers up.

A request for work raises `wanted`. The scheduler enqueues a job for a generation; the job raises
the fence, reads what is wanted *then*, takes its snapshot, and at the end writes that as `done`.
Requests that come meanwhile leave `wanted` above `done`: exactly one more job follows.
"""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from store.database.locks import lock_lease
from store.database.schema import project, work
from store.work.jobs import FINISHED, end_job, finish_jobs, job_id
from store.work.work_kind import WorkKind

BACKOFF_SECONDS = (1, 2, 5, 15, 60, 300)  # waits after failures of one kind of work


@dataclass(frozen=True)
class Work:
    """One kind of work for one project. Times are seconds since 1970."""

    project_id: int
    kind: WorkKind
    wanted: int
    enqueued: int
    done: int
    fence: int
    wanted_at: float
    touched_at: float
    not_before: float
    failures: int
    error: str | None

    @property
    def job_id(self) -> str:
        """The id of the newest job."""
        return job_id(self.kind, self.project_id, self.enqueued)


@dataclass(frozen=True)
class Lease:
    """The right of a job that has begun to write, as long as its fence is the newest."""

    project_id: int
    kind: WorkKind
    job_id: str
    generation: int  # what was wanted when the job began
    fence: int


class LeaseLostError(Exception):
    """A newer job of the same kind has begun; this one must stop without a trace."""


def _record(row: Row[Any]) -> Work:
    return Work(**(dict(row._mapping) | {"kind": WorkKind(row.kind)}))


def _where(project_id: int, kind: WorkKind) -> tuple[ColumnElement[bool], ...]:
    return (work.c.project_id == project_id, work.c.kind == kind)


def get_work(db: Connection, project_id: int, kind: WorkKind, *, lock: bool = False) -> Work | None:
    """The row; None when this kind of work was never requested.

    Args:
        lock: let nobody else change it before this transaction ends.
    """
    query = select(work).where(*_where(project_id, kind))
    row = db.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _record(row)


def want(
    db: Connection, project_id: int, kind: WorkKind, *, not_before: float | None = None
) -> None:
    """Request one more run of this kind of work.

    Args:
        not_before: a time that the run must wait for; without it, an earlier wait stays.
    """
    now = time.time()
    parameters = {"of_project": project_id, "of_kind": kind, "now": now, "until": not_before}
    if db.execute(_WANT, parameters).rowcount:
        return
    db.execute(
        insert(work).values(
            project_id=project_id,
            kind=kind,
            wanted=1,
            enqueued=0,
            done=0,
            fence=0,
            wanted_at=now,
            touched_at=now,
            not_before=not_before or 0.0,
            failures=0,
        )
    )


# Every webhook requests work: the statement is made once.
_WANT = (
    update(work)
    .where(work.c.project_id == bindparam("of_project"), work.c.kind == bindparam("of_kind"))
    .values(
        wanted=work.c.wanted + 1,
        wanted_at=case((work.c.wanted == work.c.done, bindparam("now")), else_=work.c.wanted_at),
        touched_at=bindparam("now"),
        not_before=func.coalesce(bindparam("until", type_=Double), work.c.not_before),
    )
)


def list_wanted(db: Connection) -> list[Work]:
    """The pending work of all projects that are in Label Studio.

    Of one that is gone, only a sync: it asks whether the project is back.
    """
    rows = db.execute(
        select(work)
        .join(project, project.c.id == work.c.project_id)
        .where(
            work.c.wanted > work.c.done,
            or_(project.c.gone_at.is_(None), work.c.kind == WorkKind.SYNC),
        )
        .order_by(work.c.wanted_at)
    )
    return [_record(row) for row in rows]


def next_generation(db: Connection, item: Work) -> int | None:
    """Reserve a generation whose job id was never used: the wanted one, or one more.

    Returns:
        None when the work was done or cancelled, or another scheduler has enqueued a job for it,
        since `item` was read.
    """
    following = case((work.c.wanted > work.c.enqueued, work.c.wanted), else_=work.c.enqueued + 1)
    reserved = db.execute(
        update(work)
        .where(
            *_where(item.project_id, item.kind),
            work.c.enqueued == item.enqueued,
            work.c.wanted > work.c.done,
        )
        .values(enqueued=following, wanted=following)
    )
    if not reserved.rowcount:
        return None
    current = get_work(db, item.project_id, item.kind)
    assert current is not None, "it was changed a moment ago"
    return current.enqueued


def begin(db: Connection, project_id: int, kind: WorkKind, generation: int) -> Lease:
    """Take the lease for a job that starts now; older jobs of this kind lose theirs.

    Raises LeaseLostError when nothing is wanted any more: it was done, or cancelled. Also when a
    job of a later generation was enqueued: this one was taken for lost, and two would do its work.
    """
    lock_lease(db, project_id, kind)
    taken = db.execute(
        update(work)
        .where(
            *_where(project_id, kind),
            work.c.wanted > work.c.done,
            work.c.enqueued <= generation,
        )
        .values(fence=work.c.fence + 1)
    )
    current = get_work(db, project_id, kind)
    if not taken.rowcount or current is None:
        superseded = current is not None and current.wanted > current.done
        reason = "a later job was enqueued" if superseded else f"no {kind} is wanted"
        raise LeaseLostError(f"{reason} for project {project_id}")
    finish_jobs(db, project_id, kind, done=current.done)
    own = job_id(kind, project_id, generation)
    return Lease(project_id, kind, own, current.wanted, current.fence)


def revoke(db: Connection, project_id: int, kind: WorkKind) -> None:
    """Take the lease away from the job under way, if there is one."""
    lock_lease(db, project_id, kind)
    db.execute(update(work).where(*_where(project_id, kind)).values(fence=work.c.fence + 1))


def check(db: Connection, lease: Lease) -> None:
    """Raise LeaseLostError unless the lease is the newest; it stays so until the transaction ends.

    Call it first in every transaction of a job, so that nothing is locked before it.
    """
    lock_lease(db, lease.project_id, lease.kind)
    require_lease(db, lease)


def require_lease(db: Connection, lease: Lease) -> None:
    """Raise LeaseLostError unless the lease is the newest now: before every external effect."""
    current = get_work(db, lease.project_id, lease.kind)
    if current is None or current.fence != lease.fence:
        raise LeaseLostError(f"a newer {lease.kind} job of project {lease.project_id} has begun")


def finish(db: Connection, lease: Lease, *, not_before: float = 0.0) -> None:
    """Mark the lease's work as done, and its job as finished.

    Both in one transaction: a process may be killed at any moment, and its job would be shown as
    running for good.

    Args:
        not_before: the next run of this kind waits until then.
    """
    check(db, lease)
    db.execute(
        update(work)
        .where(*_where(lease.project_id, lease.kind))
        .values(
            done=lease.generation,
            wanted_at=work.c.touched_at,
            not_before=not_before,
            failures=0,
            error=None,
        )
    )
    end_job(db, lease.job_id, state=FINISHED)


def cancel(db: Connection, project_id: int, kind: WorkKind) -> bool:
    """Cancel the pending work of this kind; a job under way loses its lease.

    Returns:
        Whether anything was wanted.
    """
    lock_lease(db, project_id, kind)
    current = get_work(db, project_id, kind, lock=True)
    if current is None or current.wanted <= current.done:
        return False
    db.execute(
        update(work)
        .where(*_where(project_id, kind))
        .values(done=work.c.wanted, fence=work.c.fence + 1, not_before=0.0, failures=0, error=None)
    )
    return True


def fail(db: Connection, project_id: int, kind: WorkKind, error: str) -> None:
    """Count a failure: the work stays wanted and is tried again after a wait that grows."""
    current = get_work(db, project_id, kind, lock=True)
    if current is None or current.wanted <= current.done:  # given up, or cancelled: it is done
        return
    wait = BACKOFF_SECONDS[min(current.failures, len(BACKOFF_SECONDS) - 1)]
    db.execute(
        update(work)
        .where(*_where(project_id, kind))
        .values(failures=work.c.failures + 1, error=error, not_before=time.time() + wait)
    )


def retry_now(db: Connection, connection_id: str) -> None:
    """Let failed work of the connection's projects be tried again at once."""
    of_connection = select(project.c.id).where(project.c.connection_id == connection_id)
    db.execute(
        update(work)
        .where(work.c.project_id.in_(of_connection), work.c.failures > 0)
        .values(not_before=0.0, failures=0, error=None)
    )


def mark_lost(db: Connection, project_id: int, kind: WorkKind, error: str) -> int:
    """Count a failure because the job's process was killed.

    Returns:
        Seconds that the next job waits: none at first, then more and more, since what ends it may
        be the job itself, by the memory that it takes.
    """
    current = get_work(db, project_id, kind, lock=True)
    assert current is not None, "a job was enqueued for it"
    waits = (0, *BACKOFF_SECONDS)
    wait = waits[min(current.failures, len(waits) - 1)]
    db.execute(
        update(work)
        .where(*_where(project_id, kind))
        .values(failures=work.c.failures + 1, error=error, not_before=time.time() + wait)
    )
    return wait


def postpone(db: Connection, project_id: int, kind: WorkKind, until: float) -> None:
    """Let this kind of work wait until `until`, whether or not it is wanted."""
    db.execute(
        update(work)
        .where(*_where(project_id, kind), work.c.not_before < until)
        .values(not_before=until)
    )
