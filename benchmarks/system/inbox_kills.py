"""Kills two backends that share a database, at random points, and the database server too.

Without a web server and without Label Studio, so that hundreds of kills take minutes; `kills` has
all the rest. Each backend takes webhooks into its inbox and applies them; both answer predictions.
"""

import contextlib
import multiprocessing
import random
import tempfile
import threading
import time
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkServerProcess as Backend
from pathlib import Path

from sqlalchemy import func, select

from backend.drainer import Drainer
from backend.http.prometheus import Metrics
from benchmarks.support import inbox_process
from benchmarks.support.harness import Options
from benchmarks.support.kill_counts import KillCount, bars, count_runs, kills_of
from benchmarks.support.report import Outcome
from benchmarks.support.servers import Servers, external
from store.database.schema import annotation, prediction
from store.inbox.inbox import Inbox
from store.projects.connections import DEFAULT, save_connection
from store.settings import Settings
from store.store import Store
from store.versions.versions import SERVED
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind
from tests.support.inbox_marks import broken_marks, note_marks
from tests.support.versions import plain_version
from tests.support.web import add_project

BACKENDS = 2
ROUNDS = 20  # of one seed: all backends are killed in each
LONGEST = 1.5  # seconds from a backend's first acknowledged webhook to its end
DATABASE_SHARE = 0.25  # of the rounds in which the database server is killed as well
APPLIED_SECONDS = 600.0


def run(options: Options) -> Outcome:
    """Kill in each run with another seed."""

    def one(seed: int) -> KillCount:
        with (
            tempfile.TemporaryDirectory(prefix="apprentice-kills-") as folder,
            external(options.database) as servers,
        ):
            return _run(Path(folder), servers, random.Random(seed), options.count(ROUNDS, 3))

    counts = count_runs(options, one)
    return Outcome(
        bars(counts, BACKENDS * ROUNDS, ""),
        {"killed": dict(kills_of(counts)), "by seed": [vars(count) for count in counts]},
    )


def _run(folder: Path, servers: Servers, chance: random.Random, rounds: int) -> KillCount:
    url = servers.settings.get("APPRENTICE_DATABASE_URL") or f"sqlite:///{folder / 'shared.db'}"
    store = Store.open(Settings(home=folder / "own", database_url=url), migrate=True)
    store.database.write(lambda db: save_connection(db, DEFAULT, "http://studio", "token"))
    project = add_project(store)
    version = store.database.write(
        lambda db: plain_version(db, project.id, status=SERVED, embedding_space="s", labels=1)
    )
    store.database.write(note_marks)
    homes = [folder / f"home-{number}" for number in range(BACKENDS)]
    count, acknowledged = KillCount(), set[int]()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([inbox_process.__name__])  # so that a start takes no time
    for number in range(rounds):
        database = servers.by_name.get("postgres")
        threads = []
        for backend, home in enumerate(homes):
            first = (number * BACKENDS + backend + 1) * 100_000
            receiver, sender = context.Pipe(duplex=False)
            arguments = (home, url, first, project.id, version.id, sender)
            process = context.Process(target=inbox_process.run, args=arguments)
            process.start()
            sender.close()
            seconds = chance.uniform(0.0, LONGEST)
            thread = threading.Thread(target=_end, args=(process, receiver, seconds, acknowledged))
            thread.start()
            threads.append(thread)
            count.kills["backend"] += 1
        if database is not None and chance.random() < DATABASE_SHARE:
            time.sleep(chance.uniform(0.0, 2.0 + LONGEST))
            database.kill()
            database.start()
            count.kills["database"] += 1
        for thread in threads:
            thread.join()
    for home in homes:
        inbox = Inbox(home)
        drainer = Drainer(store, inbox, Metrics(), lambda: None)
        drainer.start()
        assert inbox.wait_until_applied(APPLIED_SECONDS), "what was left is not applied"
        drainer.stop()
        inbox.close()
    count.acknowledged = len(acknowledged)
    _check(store, project.id, acknowledged, count)
    store.close()
    return count


def _end(process: Backend, receiver: Pipe, seconds: float, acknowledged: set[int]) -> None:
    """Kill a backend so long after its first acknowledged webhook; collect all of these."""
    with contextlib.suppress(EOFError, OSError):  # it was killed within a message
        acknowledged.add(receiver.recv())
        time.sleep(seconds)
        process.kill()
        while True:
            acknowledged.add(receiver.recv())
    process.kill()
    process.join()
    receiver.close()


def _check(store: Store, project_id: int, acknowledged: set[int], count: KillCount) -> None:
    with store.database.read() as db:
        stored = list(db.execute(select(annotation.c.ls_id)).scalars())
        work = get_work(db, project_id, WorkKind.LEARN)
        tasks = select(func.count(), func.count(prediction.c.task_ls_id.distinct()))
        rows, different = db.execute(tasks.select_from(prediction)).one()
        broken = broken_marks(db)
    assert work is not None, "labels want to be learned"
    count.lost = len(acknowledged - set(stored))
    count.double_predictions = rows - different
    # Each new annotation requests learning once: more requests are webhooks that came twice.
    count.double_effects = broken + abs(work.wanted - len(set(stored)))
