"""Measures latencies at 50 webhooks a second while images are embedded and heads fitted.

Beside the webhooks come /health and /setup, ten a second each. A second project with new images is
connected when the minute begins, so that there is embedding to do all the time.
"""

import asyncio
import itertools
import random
import time

from sqlalchemy import select

from backend.demo.run import DemoSession
from benchmarks.support.harness import (
    MOST_SAMPLES,
    Options,
    at_rest,
    demo,
    jobs,
    new_project,
    truths,
    wait,
)
from benchmarks.support.report import Bar, Outcome, percentile, spread
from benchmarks.support.traffic import Bodies, Call, Reply, on_schedule
from services.connections.connect import connect
from store.database.schema import annotation
from store.projects.connections import DEFAULT
from store.work.jobs import list_jobs
from store.work.work_kind import WorkKind

WEBHOOKS, OTHERS = 50.0, 10.0  # a second


def run(options: Options) -> Outcome:
    """Measure it."""
    seconds = options.count(60, 10)
    with demo(options.count(MOST_SAMPLES, 100)) as session:
        wait(lambda: at_rest(session), "all images are embedded", 300)
        truth = truths(session, session.project.ls_id)
        bodies = Bodies(session, session.project.ls_id)
        bulk, _ = new_project(session, "Bulk", options.count(4000, 200), seed=1)
        tasks = list(truth)
        random.Random(0).shuffle(tasks)

        order = itertools.cycle(tasks)

        def webhook() -> Call:
            task = next(order)
            return bodies.annotated(task, truth[task])

        began = time.time()
        second = connect(session.store, session.studio, DEFAULT, bulk.id, session.settings.url)
        plan = {webhook: WEBHOOKS, bodies.health: OTHERS, bodies.setup: OTHERS}
        replies = asyncio.run(on_schedule(session, plan, seconds))
        ended = time.time()
        return _judge(session, replies, second.id, began, ended)


def _judge(
    session: DemoSession, replies: list[Reply], second: int, began: float, ended: float
) -> Outcome:
    by_name = {
        name: [reply for reply in replies if reply.name == name]
        for name in ("webhook", "health", "setup")
    }
    acknowledged = {r.key for r in by_name["webhook"] if r.status == 200}
    query = select(annotation.c.ls_id).where(annotation.c.ls_id.in_(acknowledged))
    with session.store.database.read() as db:
        stored = set(db.execute(query).scalars())
        embeds = [job for job in list_jobs(db, second, 1000) if job.kind == WorkKind.EMBED]
    learns = [job for job in jobs(session, WorkKind.LEARN, began) if job.created_at < ended]
    latency = {name: [r.seconds * 1000 for r in group] for name, group in by_name.items()}
    failed = [r for r in replies if r.status != 200]
    during = [job for job in embeds if job.started_at and job.started_at < ended]
    p99 = {name: percentile(values, 0.99) for name, values in latency.items()}
    return Outcome(
        [
            Bar("webhook acknowledged, p99, 50/s for 60 s", "most", 100, p99["webhook"], "ms"),
            Bar(
                "acknowledged webhooks lost",
                "exactly",
                0,
                len(acknowledged - stored),
                "webhooks",
                f"{len(acknowledged)} of {len(by_name['webhook'])} were acknowledged",
            ),
            Bar("/health, p99, same load", "most", 50, p99["health"], "ms"),
            Bar("/setup, p99, same load", "most", 50, p99["setup"], "ms"),
        ],
        {
            **{f"{name}, ms": spread(values) for name, values in latency.items()},
            "sent late by, ms": spread([r.late * 1000 for r in replies]),
            "not answered with 200": len(failed),
            "learn jobs meanwhile": len(learns),
            "seconds of embed jobs meanwhile": round(
                sum(min(job.ended_at or ended, ended) - (job.started_at or 0) for job in during), 1
            ),
        },
    )
