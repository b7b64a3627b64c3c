"""Measures /predict beside a fine-tuning, and how fast a fine-tuning is cancelled.

Requests for one embedded task come 20 a second: first while nothing else goes on, then while a
fine-tuning trains. Then that is cancelled, and the seconds are counted until its process is gone.
"""

import asyncio
import random
import time

import psutil

from backend.demo.run import DemoSession
from benchmarks.support.harness import Options, at_rest, demo, jobs, ours, wait
from benchmarks.support.report import Bar, Outcome, percentile, spread
from benchmarks.support.traffic import Bodies, Call, Reply, on_schedule
from services.versions.training_requests import TrainingKind, cancel, request_training
from store.work.work_kind import WorkKind

LABELS = 150
RATE = 20.0  # requests a second
LEAST_MS = 25.0  # of the bar: twice a very small number is a very small number


def run(options: Options) -> Outcome:
    """Measure it."""
    seconds = options.count(60, 10)
    # The fine-tuning is asked for; one that began by itself would spoil the quiet part.
    with demo(options.count(300, 200), {"APPRENTICE_FINETUNE": "manual"}) as session:
        session.label(LABELS)
        session.wait_until_learned(LABELS)
        wait(lambda: at_rest(session), "all images are embedded", 300)
        idle = _ask(session, seconds)
        project = session.project.id
        session.store.database.write(
            lambda db: request_training(db, project, TrainingKind.FINETUNE)
        )
        wait(lambda: "training: step" in _message(session), "the fine-tuning trains", 300)
        tuning = _ask(session, seconds)
        still = _message(session)
        if "training: step" not in still:
            raise RuntimeError(f"the fine-tuning ended before the requests did: {still}")
        horse = _busiest(session)
        held = horse.memory_info().rss / 1e6
        began = time.monotonic()
        session.store.database.write(lambda db: cancel(db, project))
        wait(lambda: not horse.is_running(), "the fine-tuning has ended", 60)
        ended = time.monotonic() - began
    p99 = percentile([r.seconds * 1000 for r in idle], 0.99)
    bar = max(2 * p99, LEAST_MS)
    busy = percentile([r.seconds * 1000 for r in tuning], 0.99)
    return Outcome(
        [
            Bar("/predict while fine-tuning, p99", "most", bar, busy, "ms", f"idle {p99:.1f} ms"),
            Bar("cancel → its process and memory are gone", "most", 2, ended, "s"),
        ],
        {
            "idle, ms": spread([r.seconds for r in idle], 1000),
            "while fine-tuning, ms": spread([r.seconds for r in tuning], 1000),
            "the fine-tuning at the end": still,
            "its memory then, MB": round(held),
        },
    )


def _ask(session: DemoSession, seconds: float) -> list[Reply]:
    bodies = Bodies(session, session.project.ls_id)
    tasks, chance = list(bodies.tasks.values()), random.Random(0)

    def predict() -> Call:
        return bodies.predict([chance.choice(tasks)])

    replies = asyncio.run(on_schedule(session, {predict: RATE}, seconds))
    refused = [r for r in replies if r.status != 200]
    if refused:
        raise RuntimeError(f"/predict answered {refused[0].status}: {refused[0].body[:300]!r}")
    return replies


def _message(session: DemoSession) -> str:
    found = jobs(session, WorkKind.FINETUNE)
    return (found[-1].message or found[-1].error or "") if found else ""


def _busiest(session: DemoSession) -> psutil.Process:
    """The process that trains: of all of Apprentice's, the one with the most threads' time."""
    before = {process: sum(process.cpu_times()[:2]) for process in ours(session)}
    time.sleep(1)
    used = {
        process: sum(process.cpu_times()[:2]) - seconds
        for process, seconds in before.items()
        if process.is_running()
    }
    return max(used, key=lambda process: used[process])
