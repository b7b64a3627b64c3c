"""Kills Apprentice's processes, its database and its broker at random, and counts what that costs.

Webhooks come all the time, and an annotator labels in the real Label Studio. Now and then a process
gets a SIGKILL: the web process, a worker or the process of its job, the inference process, the
broker, PostgreSQL, or all of Apprentice. At the end every label that was acknowledged, or made in
Label Studio, must be known, no task may have two predictions of a version, and no webhook may have
been applied twice.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
from sqlalchemy import select

from backend.demo.run import DemoSession
from benchmarks.support.harness import (
    Options,
    WaitedInVainError,
    at_rest,
    demo,
    ours,
    truths,
    wait,
)
from benchmarks.support.kill_counts import KillCount, bars, count_runs, kills_of
from benchmarks.support.report import Outcome
from benchmarks.support.servers import Servers, external
from benchmarks.support.traffic import Bodies, send
from store.database.chunks import chunks
from store.database.schema import annotation
from studio.errors import StudioError
from tests.support.inbox_marks import broken_marks, note_marks

KILLS = 40  # of one run
RATE = 15.0  # webhooks a second
LONGEST_PAUSE = 2.0  # seconds between two kills
READY_SECONDS = 120.0
REST_SECONDS = 300.0
EVERYTHING = "everything"
# A label whose webhook nobody heard is found soon.
SETTINGS = {"APPRENTICE_RECONCILE_SECONDS": "15"}


@dataclass
class _Count(KillCount):
    """What one run has found."""

    refused: int = 0
    labelled: int = 0
    seconds: float = 0.0


def run(options: Options) -> Outcome:
    """Kill in each run with another seed."""
    counts = count_runs(options, lambda seed: _run(options, seed))
    labelled = sum(count.labelled for count in counts)
    return Outcome(
        bars(counts, KILLS, f", {labelled} labels made"),
        {
            "killed": dict(kills_of(counts)),
            "not acknowledged": sum(count.refused for count in counts),
            "by run": [vars(count) for count in counts],
        },
    )


def _run(options: Options, seed: int) -> _Count:
    chance, count, began = random.Random(seed), _Count(), time.monotonic()
    # With SQLite the embedded broker, with PostgreSQL a Redis: both are killed.
    with (
        external(options.database, broker=options.database != "sqlite") as servers,
        demo(options.count(200, 60), {**SETTINGS, **servers.settings}) as session,
    ):
        session.store.database.write(note_marks)
        with _traffic(session, seed) as traffic:
            labelled: set[int] = set()
            for _ in range(options.count(KILLS, 6)):
                time.sleep(chance.uniform(0.0, LONGEST_PAUSE))
                with contextlib.suppress(StudioError):
                    if (done := session.annotator.label_next()) is not None:
                        labelled.add(done.annotation)
                count.kills[_kill(session, servers, chance)] += 1
            wait(lambda: _answers(session), "Apprentice is back", READY_SECONDS)
        count.acknowledged, count.refused = len(traffic.acknowledged), traffic.refused
        count.labelled = len(labelled)
        with contextlib.suppress(WaitedInVainError):
            wait(lambda: not _lost(session, traffic, labelled), "all labels are known", 120)
        count.lost = len(_lost(session, traffic, labelled))
        wait(lambda: at_rest(session), "nothing is under way", REST_SECONDS)
        held = Counter(
            (prediction.task, prediction.model_version)
            for prediction in session.studio.predictions(project=session.project.ls_id)
        )
        count.double_predictions = sum(number - 1 for number in held.values())
        with session.store.database.read() as db:
            count.double_effects = broken_marks(db)
    count.seconds = round(time.monotonic() - began, 1)
    return count


def _kill(session: DemoSession, servers: Servers, chance: random.Random) -> str:
    """Kill something, and start what nobody else would; its name."""
    processes = {process: _name_of(process) for process in ours(session)}
    names = sorted({name for name in processes.values() if name != "up"})
    name = chance.choice([*names, "web", *servers.by_name, EVERYTHING])
    if name in servers.by_name:
        servers.by_name[name].kill()
        time.sleep(chance.uniform(0.0, 1.0))
        servers.by_name[name].start()
        return name
    victims = [p for p, known in processes.items() if name in (known, EVERYTHING)]
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    if name == EVERYTHING:
        psutil.wait_procs(victims, timeout=10)
        session.restart_apprentice()
    return name


def _name_of(process: psutil.Process) -> str:
    """What a process of Apprentice does, by its command."""
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        if "worker" in words:
            parent = process.parent()
            job = parent is not None and parent.cmdline() == words
            return f"{'job' if job else 'worker'} {words[words.index('worker') + 1]}"
        for word, name in (("serve", "web"), ("inference", "inference"), ("up", "up")):
            if word in words:
                return name
        return "broker" if any("valkey" in word for word in words) else "other"
    return "other"


@dataclass
class _Traffic:
    """Webhooks of new annotations that were acknowledged, and how many were not."""

    acknowledged: set[int] = field(default_factory=set)
    refused: int = 0


@contextlib.contextmanager
def _traffic(session: DemoSession, seed: int) -> Iterator[_Traffic]:
    """Webhooks, one after the other, while the block runs."""
    truth, bodies = truths(session, session.project.ls_id), Bodies(session, session.project.ls_id)
    traffic, stopped, chance = _Traffic(), threading.Event(), random.Random(seed)
    tasks = list(truth)

    async def deliver() -> None:
        while not stopped.is_set():
            task = chance.choice(tasks)
            reply = await send(session, bodies.annotated(task, truth[task]))
            if reply.status == 200:
                traffic.acknowledged.add(reply.key)
            else:
                traffic.refused += 1
            await asyncio.sleep(1 / RATE)

    thread = threading.Thread(target=lambda: asyncio.run(deliver()), name="traffic")
    thread.start()
    try:
        yield traffic
    finally:
        stopped.set()
        thread.join()


def _answers(session: DemoSession) -> bool:
    bodies = Bodies(session, session.project.ls_id)
    return asyncio.run(send(session, bodies.health())).status == 200


def _lost(session: DemoSession, traffic: _Traffic, labelled: set[int]) -> set[int]:
    """The annotations that the database never had."""
    wanted = traffic.acknowledged | labelled
    stored: set[int] = set()
    with session.store.database.read() as db:
        for ids in chunks(wanted):
            query = select(annotation.c.ls_id).where(
                annotation.c.ls_id.in_(ids), ~annotation.c.deleted
            )
            stored.update(db.execute(query).scalars())
    return wanted - stored
