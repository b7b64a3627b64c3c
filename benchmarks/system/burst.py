"""Checks that a hundred webhooks during a learn job cause exactly one more job."""

import asyncio
import time
from functools import partial
from itertools import islice

from backend.demo.run import DemoSession
from benchmarks.support.harness import Options, at_rest, demo, jobs, truths, wait
from benchmarks.support.report import Bar, Outcome
from benchmarks.support.traffic import Bodies, at_once
from store.work.work_kind import WorkKind

BURST = 100
LABELS = 250  # so that learning takes longer than the burst


def run(options: Options) -> Outcome:
    """Measure it, three times over."""
    rounds = options.count(3, 1)
    labels = options.count(LABELS, 60)
    # Label Studio doesn't have these annotations: a reconcile would take them back, and want a job.
    settings = {"APPRENTICE_RECONCILE_SECONDS": "3600"}
    with demo(labels + (BURST + 1) * rounds + 50, settings) as session:
        wait(lambda: at_rest(session), "all images are embedded", 300)
        truth = truths(session, session.project.ls_id)
        bodies = Bodies(session, session.project.ls_id)
        tasks = iter(truth)

        def webhooks(count: int) -> bool:
            calls = [bodies.annotated(task, truth[task]) for task in islice(tasks, count)]
            return all(r.status == 200 for r in asyncio.run(at_once(session, calls)))

        answered = webhooks(labels)
        wait(
            lambda: bool(jobs(session, WorkKind.LEARN)) and at_rest(session),
            "the labels are learned",
        )
        followers, inside, seconds = [], [], []
        for _ in range(rounds):
            time.sleep(6)  # what a publication makes learning wait
            since = time.time()
            answered &= webhooks(1)

            wait(partial(_started, session, since), "a learn job runs")
            began = time.time()
            answered &= webhooks(BURST)
            ended = time.time()
            first = jobs(session, WorkKind.LEARN, since)[0]
            inside.append(first.ended_at is None or first.ended_at > ended)
            seconds.append(round(ended - began, 3))
            wait(lambda: at_rest(session), "the burst is learned")
            time.sleep(1)
            wait(lambda: at_rest(session), "the burst is learned")
            followers.append(len(jobs(session, WorkKind.LEARN, since)) - 1)
    whole = [count for count, good in zip(followers, inside, strict=True) if good]
    return Outcome(
        [
            Bar(
                "a burst of 100 webhooks during a job: jobs that follow",
                "exactly",
                1,
                max(whole, key=lambda count: abs(count - 1)) if whole and answered else None,
                "jobs",
                f"{len(whole)} of {rounds} bursts ended before the job did",
            )
        ],
        {"jobs that followed": followers, "seconds of the burst": seconds, "all 200": answered},
    )


def _started(session: DemoSession, since: float) -> bool:
    return any(job.started_at for job in jobs(session, WorkKind.LEARN, since))
