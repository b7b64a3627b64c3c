"""finetune in a worker's own process: killed and gone on with, cancelled and gone in no time."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backend.scheduler import Scheduler
from services.versions.training_requests import TrainingKind, cancel, request_training
from store.work import pending_work
from store.work.jobs import Job, list_jobs
from tests.support.workbench import Workbench
from tests.worker.jobs.test_moving import add, bench, wish
from worker.queues.broker import Broker, redis_from_url

__all__ = ["bench"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE = 300.0  # seconds
SLOWLY = {"SMALL_STEP_SECONDS": "0.008"}  # training takes long enough to be seen
STEP = re.compile(r"training: step (\d+) of (\d+)")


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not so: {what}")
        time.sleep(0.005)


class Shop:
    """A broker, a scheduler, and a worker that can be killed."""

    def __init__(self, bench: Workbench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.broker = Broker(folder)
        self.broker.start()
        self.redis = redis_from_url(self.broker.url)
        self.scheduler = Scheduler(bench.store, self.redis)
        self.scheduler.start()
        self.worker = self.start_worker()

    def start_worker(self) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", "tests.support.small_worker", self.broker.url]
        with (self.folder / "worker.log").open("ab") as output:
            self.worker = subprocess.Popen(
                argv, stderr=output, stdout=output, env=os.environ | SLOWLY
            )
        return self.worker

    def job(self) -> Job | None:
        with self.bench.store.database.read() as db:
            jobs = [j for j in list_jobs(db, self.bench.project_id) if j.kind == "finetune"]
        return max(jobs, key=lambda job: job.generation, default=None)

    def step(self) -> tuple[int, int]:
        """How far training is: (step, steps)."""
        job = self.job()
        found = STEP.match(job.message) if job and job.ended_at is None else None
        return (int(found[1]), int(found[2])) if found else (0, 1)

    def wish(self) -> None:
        self.bench.store.database.write(
            lambda db: request_training(db, self.bench.project_id, TrainingKind.FINETUNE)
        )

    def forks(self) -> list[psutil.Process]:
        """The processes that jobs run in."""
        return psutil.Process(self.worker.pid).children(recursive=True)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def close(self) -> None:
        self.worker.kill()
        self.worker.wait()
        self.scheduler.stop()
        self.redis.close()
        self.broker.stop()


@pytest.fixture
def shop(bench: Workbench, tmp_path: Path) -> Iterator[Shop]:
    """A project of 300 labelled images, so that training takes some seconds."""
    add(bench, range(61, 301))
    bench.run("embed")
    bench.annotate(bench.truth)
    bench.run("learn")
    (tmp_path / "shop").mkdir()
    made = Shop(bench, tmp_path / "shop")
    yield made
    made.close()


def test_after_a_kill_it_goes_on_where_it_was(shop: Shop) -> None:
    shop.wish()
    eventually(lambda: shop.step()[0] >= 0.4 * shop.step()[1], "it has trained a while")
    before, steps = shop.step()
    shop.worker.kill()
    shop.worker.wait()
    first = shop.job()
    assert first is not None
    shop.start_worker()
    eventually(lambda: shop.job() != first and shop.step()[0] > 0, "it trains again")
    again = shop.step()[0]
    assert again >= before - 0.1 * steps, "no more than a tenth is repeated"
    assert "fine-tuning resumed" in shop.log()
    eventually(lambda: shop.bench.project.next_backbone, "the tuned backbone takes over")


def test_cancelled_it_is_gone_within_two_seconds(shop: Shop) -> None:
    shop.wish()
    eventually(lambda: shop.step()[0] > 0, "it trains")
    forks = shop.forks()
    assert forks
    began = time.monotonic()
    shop.bench.store.database.write(lambda db: cancel(db, shop.bench.project_id))
    psutil.wait_procs(forks, timeout=PATIENCE)
    took = time.monotonic() - began
    assert not (shop.bench.store.settings.home / "finetune" / str(shop.bench.project_id)).exists()
    with shop.bench.store.database.read() as db:
        item = pending_work.get_work(db, shop.bench.project_id, "finetune")
    assert item is not None
    assert item.wanted == item.done
    job = shop.job()
    assert job is not None
    assert job.state == "cancelled"
    assert took < PATIENCE
    print(f"cancelled in {took:.2f} s")  # noqa: T201


def test_one_that_ignores_it_is_killed_with_all_that_it_started(
    bench: Workbench, tmp_path: Path
) -> None:
    bench.annotate(bench.truth)
    wish(bench, "small:deaf")
    bench.run("embed")
    bench.run("learn")
    assert bench.project.embedding_space == "small:deaf@float32"
    (tmp_path / "shop").mkdir()
    shop = Shop(bench, tmp_path / "shop")
    try:
        shop.wish()
        eventually(lambda: len(shop.forks()) == 2, "it is lost, beside a process that it started")
        forks = shop.forks()
        bench.store.database.write(lambda db: cancel(db, bench.project_id))
        _, alive = psutil.wait_procs(forks, timeout=PATIENCE)
        assert not alive, "their memory is free"
        eventually(lambda: "job.cancelled" in shop.log(), "the worker says so")
        assert "doesn't stop by itself" in shop.log()
        assert not re.search(r"error|warning", shop.log(), re.IGNORECASE), "it is no fault"
        assert shop.worker.poll() is None, "the worker itself goes on"
    finally:
        shop.close()
    job = shop.job()
    assert job is not None
    assert job.state == "cancelled"
    assert not (bench.store.settings.home / "finetune" / str(bench.project_id)).exists()
