"""The stages from a saved label to a readable suggestion: when each began, by the store's rows."""

import statistics
from dataclasses import dataclass

from backend.demo.run import DemoSession
from benchmarks.support.harness import jobs
from benchmarks.support.report import percentile
from store.tasks.annotations import first_received
from store.versions.versions import Version
from store.work.jobs import Job
from store.work.work_kind import WorkKind

STAGES = (
    "label saved → webhook received",
    "webhook received → learn job enqueued",
    "learn job enqueued → started",
    "learn job started → version committed",
    "version committed → publish job enqueued",
    "publish job enqueued → started",
    "publish job started → version served",
    "version served → suggestion read",
)


@dataclass(frozen=True)
class AnsweredLabel:
    """A label and the version that was served for it. Times are seconds since 1970."""

    task: int
    saved: float
    version: Version
    read: float


def stage_table(session: DemoSession, labels: list[AnsweredLabel]) -> dict[str, str]:
    """{stage: "median (95th percentile) s"}; a label whose rows are gone is left out."""
    with session.store.database.read() as db:
        received = first_received(db, session.project.id)
    learned, published = jobs(session, WorkKind.LEARN), jobs(session, WorkKind.PUBLISH)
    seconds: list[list[float]] = [[] for _ in STAGES]
    for label in labels:
        served = label.version.published_at
        learn = _around(learned, label.version.created_at)
        push = _around(published, served)
        if learn is None or push is None or served is None or label.task not in received:
            continue
        moments = [
            label.saved,
            received[label.task],
            *(learn.created_at, learn.started_at or 0.0, label.version.created_at),
            *(push.created_at, push.started_at or 0.0, served),
            label.read,
        ]
        for stage, begin, end in zip(seconds, moments, moments[1:], strict=False):
            stage.append(end - begin)
    return {
        name: f"{statistics.median(stage):.3f} ({percentile(stage, 0.95):.3f}) s"
        for name, stage in zip(STAGES, seconds, strict=True)
        if stage
    }


def _around(jobs_of_kind: list[Job], moment: float | None) -> Job | None:
    """The job that ran at that moment."""
    for job in reversed(jobs_of_kind):
        if moment is not None and job.started_at is not None and job.started_at <= moment:
            return job
    return None
