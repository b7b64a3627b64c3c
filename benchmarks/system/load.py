"""Measures latencies at 50 webhooks a second beside embedding, learning and fine-tuning.

Beside the webhooks come /health and /setup, ten a second each, and /predict of a known task, five a
second. For each run a project with new images is connected as it begins, so that there is embedding
to do all the time, and a fine-tuning trains.
"""

import asyncio
import contextlib
import itertools
import random
import statistics
import time
from dataclasses import dataclass

from sqlalchemy import select

from backend.demo.run import DemoSession
from benchmarks.support.harness import (
    MOST_SAMPLES,
    Options,
    WaitedInVainError,
    at_rest,
    demo,
    jobs,
    new_project,
    truths,
    wait,
)
from benchmarks.support.report import Bar, Outcome, percentile, spread
from benchmarks.support.servers import external
from benchmarks.support.traffic import Bodies, Call, Reply, at_once, on_schedule
from services.connections.connect import connect
from services.versions.training_requests import TrainingKind, request_training
from store.database.chunks import chunks
from store.database.schema import annotation
from store.projects.connections import DEFAULT
from store.work.jobs import list_jobs
from store.work.work_kind import WorkKind

RATES = {"webhook": 50.0, "health": 10.0, "setup": 10.0, "predict": 5.0}  # a second
LABELS = 300  # that the fine-tuning begins with
APPLIED_SECONDS = 30.0  # until what was acknowledged last is in the database
# Label Studio doesn't have these annotations: a reconcile would take them back.
SETTINGS = {"APPRENTICE_FINETUNE": "manual", "APPRENTICE_RECONCILE_SECONDS": "3600"}


@dataclass(frozen=True)
class _Run:
    """One run: percentiles in ms by kind of request, and what went on meanwhile."""

    p99: dict[str, float]
    predict_p50: float
    lost: int
    acknowledged: int
    facts: dict[str, object]


def run(options: Options) -> Outcome:
    """Measure it."""
    with (
        external(options.database) as servers,
        demo(options.count(MOST_SAMPLES, 150), {**SETTINGS, **servers.settings}) as session,
    ):
        wait(lambda: at_rest(session), "all images are embedded", 300)
        _label(session, options.count(LABELS, 60))
        runs = [_measure(session, options, number) for number in range(options.runs or 1)]
    return _outcome(runs)


def _label(session: DemoSession, count: int) -> None:
    truth, bodies = truths(session, session.project.ls_id), Bodies(session, session.project.ls_id)
    tasks = random.Random(1).sample(list(truth), count)
    for part in chunks(tasks):
        asyncio.run(at_once(session, [bodies.annotated(task, truth[task]) for task in part]))
    wait(lambda: bool(jobs(session, WorkKind.LEARN)) and at_rest(session), "they are learned", 120)


def _measure(session: DemoSession, options: Options, number: int) -> _Run:
    truth = truths(session, session.project.ls_id)
    bodies = Bodies(session, session.project.ls_id)
    bulk, _ = new_project(session, f"Bulk {number}", options.count(4000, 200), seed=number + 1)
    tasks = list(truth)
    random.Random(number).shuffle(tasks)
    order, asked = itertools.cycle(tasks), itertools.cycle(tasks)

    def webhook() -> Call:
        task = next(order)
        return bodies.annotated(task, truth[task])

    def predict() -> Call:
        return bodies.predict([bodies.tasks[next(asked)]])

    _start_finetuning(session)
    began = time.time()
    second = connect(session.store, session.studio, DEFAULT, bulk.id, session.settings.url)
    makers = {
        "webhook": webhook,
        "health": bodies.health,
        "setup": bodies.setup,
        "predict": predict,
    }
    plan = {maker: RATES[name] for name, maker in makers.items()}
    replies = asyncio.run(on_schedule(session, plan, options.count(60, 10)))
    return _judge(session, replies, second.id, began)


def _start_finetuning(session: DemoSession) -> None:
    if not _trains(session):
        project = session.project.id
        session.store.database.write(
            lambda db: request_training(db, project, TrainingKind.FINETUNE)
        )
        wait(lambda: _trains(session), "the fine-tuning trains", 300)


def _trains(session: DemoSession) -> bool:
    found = jobs(session, WorkKind.FINETUNE)
    return bool(found) and found[-1].ended_at is None and "training: step" in found[-1].message


def _judge(session: DemoSession, replies: list[Reply], second: int, began: float) -> _Run:
    ended = time.time()
    trains = _trains(session)
    by_name = {name: [reply for reply in replies if reply.name == name] for name in RATES}
    acknowledged = {r.key for r in by_name["webhook"] if r.status == 200}
    with contextlib.suppress(WaitedInVainError):
        wait(lambda: not _missing(session, acknowledged), "all are applied", APPLIED_SECONDS)
    applied = time.time() - ended
    with session.store.database.read() as db:
        embeds = [job for job in list_jobs(db, second, 1000) if job.kind == WorkKind.EMBED]
    learns = [job for job in jobs(session, WorkKind.LEARN, began) if job.created_at < ended]
    latency = {name: [r.seconds * 1000 for r in group] for name, group in by_name.items()}
    during = [job for job in embeds if job.started_at and job.started_at < ended]
    return _Run(
        {name: percentile(values, 0.99) for name, values in latency.items()},
        percentile(latency["predict"], 0.5),
        len(_missing(session, acknowledged)),
        len(acknowledged),
        {
            **{f"{name}, ms": spread(values) for name, values in latency.items()},
            "sent late by, ms": spread([r.late * 1000 for r in replies]),
            "not answered with 200": len([r for r in replies if r.status != 200]),
            "seconds until the last webhook was applied": round(applied, 2),
            "learn jobs meanwhile": len(learns),
            "seconds of embed jobs meanwhile": round(
                sum(min(job.ended_at or ended, ended) - (job.started_at or 0) for job in during), 1
            ),
            "the fine-tuning trained to the end": trains,
        },
    )


def _missing(session: DemoSession, acknowledged: set[int]) -> set[int]:
    stored: set[int] = set()
    with session.store.database.read() as db:
        for ids in chunks(acknowledged):
            query = select(annotation.c.ls_id).where(annotation.c.ls_id.in_(ids))
            stored.update(db.execute(query).scalars())
    return acknowledged - stored


def _outcome(runs: list[_Run]) -> Outcome:
    def median(name: str) -> float:
        return statistics.median(run.p99[name] for run in runs)

    listed = ", ".join(f"{run.p99['webhook']:.1f}" for run in runs)
    sent = f"{sum(run.acknowledged for run in runs)} were acknowledged"
    lost = sum(run.lost for run in runs)
    predict = statistics.median(run.predict_p50 for run in runs)
    return Outcome(
        [
            Bar("webhook, p99, median run", "most", 20, median("webhook"), "ms", f"runs: {listed}"),
            Bar("webhook, p99, worst run", "most", 60, max(r.p99["webhook"] for r in runs), "ms"),
            Bar("acknowledged webhooks lost", "exactly", 0, lost, "webhooks", sent),
            Bar("/health, p99, same load, median run", "most", 10, median("health"), "ms"),
            Bar("/setup, p99, same load, median run", "most", 15, median("setup"), "ms"),
            Bar("/predict, known task, p50, same load, median run", "most", 8, predict, "ms"),
        ],
        {f"run {number}": run.facts for number, run in enumerate(runs, 1)},
    )
