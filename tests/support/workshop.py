"""Workers around a broker, for the tests."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from tests.support import trial_jobs
from worker.queues.worker_registry import live_workers

PATIENCE_SECONDS = 30.0


def eventually(condition: Callable[[], bool], what: str = "") -> None:
    """Wait until it holds; fails when it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not so: {what or condition}")
        time.sleep(0.01)


@dataclass
class Workshop:
    """Workers that know the trial jobs."""

    folder: Path
    url: str
    connection: Redis
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def start_worker(self, *options: str, wait: bool = True) -> "subprocess.Popen[bytes]":
        """Start a worker in a process; comes back when it is there."""
        argv = [sys.executable, trial_jobs.__file__, self.url, str(self.folder), *options]
        with (self.folder / "worker.log").open("ab") as output:
            worker = subprocess.Popen(argv, stderr=output)
        self.workers.append(worker)
        if wait:
            eventually(lambda: worker.pid in self.pids(), "the worker is registered")
        return worker

    def pids(self) -> set[int]:
        """The workers that live."""
        return {worker.pid for worker in live_workers(self.connection)}

    def work_off(self) -> None:
        """Let a worker do all that is in the queue."""
        assert self.start_worker("burst", wait=False).wait(PATIENCE_SECONDS) == 0

    def notes(self) -> dict[str, int]:
        """What the jobs wrote down: {what: process}."""
        file = self.folder / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return {what: int(pid or 0) for what, _, pid in (line.partition(" ") for line in lines)}

    def process_of(self, job: str) -> int:
        """Wait until a job has begun; gives its process."""
        eventually(lambda: job in self.notes(), f"{job} has begun")
        return self.notes()[job]

    def log(self) -> str:
        """What the workers have logged."""
        return (self.folder / "worker.log").read_text()
