"""Measures the time from a saved annotation to a newer version's suggestion in Label Studio.

`run` waits after each label until it is so; `run_steady` measures it for an annotator who labels
on, one label every three seconds.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import select

from backend.demo.run import DemoSession
from benchmarks.support.harness import (
    Options,
    WaitedInVainError,
    demo,
    jobs,
    newest,
    readable,
    served,
)
from benchmarks.support.report import Bar, Outcome, percentile, spread
from benchmarks.support.stages import AnsweredLabel, stage_table
from store.database.schema import publication
from store.predictions.shortlists import get_shortlist
from store.tasks.annotations import annotated_tasks
from store.versions.versions import HEAD, REFUSED, list_versions
from store.work.work_kind import WorkKind

PACE = 3.0  # seconds from one label of the steady annotator to the next
PATIENCE = 60.0  # seconds
# Limits of the median and of the 95th percentile, seconds.
INBOUND, OUTBOUND, STEADY = (2.0, 4.0), (4.0, 8.0), (5.0, 10.0)
LOOK = 0.03  # seconds between two looks into the store: they cost Label Studio nothing


def run(options: Options) -> Outcome:
    """One label at a time, each answered by a version before the next is made."""
    with demo(options.count(400, 60), stock=options.outbound) as session:
        outcome = label_by_label(session, options.count(100, 12))
    limits = OUTBOUND if options.outbound else INBOUND
    found = bars("annotation saved → newer suggestion readable", outcome.taken, limits)
    return Outcome(found, outcome.facts)


@dataclass(frozen=True)
class Answers:
    """The seconds from each label to a newer version's suggestion, and facts that explain them."""

    taken: list[float]
    facts: dict[str, object]


def label_by_label(session: DemoSession, labels: int) -> Answers:
    """Make labels, each after the last one was answered by a version."""
    taken: list[float] = []
    answered: list[AnsweredLabel] = []
    refused = classless = 0
    began = time.time()
    before_all = session.labels
    for count in range(before_all + 1, before_all + labels + 1):
        before = served(session)
        (labelled,) = session.label(1)
        saved = time.time()
        outcome = _answered(session, count, before.id if before else 0)
        if outcome == "served" and (version := served(session)) is not None:
            read = time.time()
            taken.append(read - saved)
            answered.append(AnsweredLabel(labelled.task, saved, version, read))
        elif outcome == "refused":
            refused += 1
        else:
            classless += 1
    return Answers(
        taken,
        {
            "seconds": spread(taken),
            "seconds, label by label": [round(value, 1) for value in taken],
            "labels": labels,
            "versions refused by the gate": refused,
            "labels of the first class, nothing to learn": classless,
            **stage_table(session, answered),
            **_where_time_goes(session, began),
        },
    )


def _answered(session: DemoSession, labels: int, before: int) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        now, trained = served(session), newest(session)
        if now is not None and now.kind == HEAD and now.id != before and now.labels >= labels:
            if _is_readable(session, now.name):
                return "served"
        elif trained is not None and trained.labels >= labels and trained.status == REFUSED:
            return "refused"
        elif session.project.reason and "second class" in session.project.reason:
            return "classless"
        time.sleep(LOOK)
    raise WaitedInVainError(f"nothing came of label {labels} within {PATIENCE:.0f} s")


def _is_readable(session: DemoSession, version: str) -> bool:
    project = session.project
    with session.store.database.read() as db:
        done = annotated_tasks(db, project.id)
        left = [task for task in get_shortlist(db, project.id) if task not in done]
    return bool(left) and readable(session.studio, project.ls_id, version, left[0])


@dataclass
class _Watch:
    """When each version could be read in Label Studio: [(labels it learned from, moment)]."""

    session: DemoSession
    seen: list[tuple[int, float]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        last = 0
        while not self.stop.wait(LOOK):
            now = served(self.session)
            if now is None or now.kind != HEAD or now.id == last:
                continue
            if _is_readable(self.session, now.name):
                self.seen.append((now.labels, time.monotonic()))
                last = now.id


def run_steady(options: Options) -> Outcome:
    """A label every three seconds, without waiting for anything."""
    labels = options.count(100, 12)
    saved: list[float] = []
    with demo(options.count(400, 60), stock=options.outbound) as session:
        began = time.time()
        watch = _Watch(session)
        thread = threading.Thread(target=watch.run, name="watch")
        thread.start()
        try:
            session.label(labels, pace=PACE, after=lambda _: saved.append(time.monotonic()))
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and (newest(session) or watch).labels != labels:  # type: ignore[union-attr]
                time.sleep(0.2)
            time.sleep(PACE)
        finally:
            watch.stop.set()
            thread.join()
        taken = []
        for number, moment in enumerate(saved, start=1):
            after = [at for learned, at in watch.seen if learned >= number]
            if after:
                taken.append(min(after) - moment)
        with session.store.database.read() as db:
            versions = list_versions(db, session.project.id)
        where = _where_time_goes(session, began)
    return Outcome(
        bars(f"a label every {PACE:g} s → a version that knows it is readable", taken, STEADY),
        {
            "seconds": spread(taken),
            "seconds, label by label": [round(value, 1) for value in taken],
            "labels": labels,
            "labels that no accepted version knew at the end": labels - len(taken),
            "versions served": len(watch.seen),
            "versions refused by the gate": sum(v.status == REFUSED for v in versions),
            **where,
        },
    )


def bars(name: str, taken: list[float], limits: tuple[float, float]) -> list[Bar]:
    """The limits of the median and of the 95th percentile of seconds."""
    measure: Callable[[float], float | None] = lambda share: (  # noqa: E731
        percentile(taken, share) if taken else None
    )
    return [
        Bar(f"{name}, p50", "most", limits[0], measure(0.5), "s"),
        Bar(f"{name}, p95", "most", limits[1], measure(0.95), "s"),
    ]


def _where_time_goes(session: DemoSession, began: float) -> dict[str, object]:
    """Medians of what the jobs took, and how long they waited to be started."""
    found: dict[str, object] = {}
    for kind in (WorkKind.LEARN, WorkKind.PUBLISH):
        done = [job for job in jobs(session, kind, began) if job.state == "finished"]
        steps: dict[str, list[float]] = {}
        for job in done:
            if job.started_at and job.ended_at:
                steps.setdefault("queued", []).append(job.started_at - job.created_at)
                steps.setdefault("whole", []).append(job.ended_at - job.started_at)
            for step, seconds in (job.timings or {}).items():
                steps.setdefault(step, []).append(seconds)
        found[f"{kind} jobs"] = len(done)
        found[f"{kind} jobs, median seconds"] = {
            step: round(statistics.median(values), 3) for step, values in steps.items()
        }
    pushed: dict[str, list[float]] = {}
    with session.store.database.read() as db:
        for row in db.execute(select(publication.c.reason, publication.c.seconds)):
            pushed.setdefault(row.reason, []).append(row.seconds)
    found["seconds of pushes in Label Studio"] = {
        reason: spread(values) for reason, values in pushed.items()
    }
    return found
