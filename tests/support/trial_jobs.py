"""Jobs for the tests, and, run as a script, a worker that knows them: URL FOLDER [burst]."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import structlog

from worker.queues.cancellation_mark import set_mark
from worker.queues.job_types import JobKind, register_kind
from worker.queues.worker_loop import run_worker

QUEUE = "learn"
FOLDER = "TRIAL_FOLDER"


def _note(line: str) -> None:
    with (Path(os.environ[FOLDER]) / "notes").open("a") as file:
        file.write(line + "\n")


def note(project_id: int, generation: int) -> None:
    """Write down that it ran, and in which process."""
    _note(f"note-{project_id}-g{generation} {os.getpid()}")


def hang(project_id: int, generation: int) -> None:
    """Never end."""
    _note(f"hang-{project_id}-g{generation} {os.getpid()}")
    threading.Event().wait()


def wait_for_file(project_id: int, generation: int) -> None:
    """End when the file `go` is there."""
    _note(f"wait-{project_id}-g{generation} {os.getpid()}")
    while not (Path(os.environ[FOLDER]) / "go").exists():
        time.sleep(0.01)
    _note("went")


def swallow(project_id: int, generation: int) -> None:
    """Never end, and catch whatever is raised to end it."""
    _note(f"swallow-{project_id}-g{generation} {os.getpid()}")
    while True:
        try:
            threading.Event().wait()
        except Exception:
            _note("swallowed")


def fail(project_id: int, generation: int) -> None:
    """Raise."""
    raise ArithmeticError(f"no {project_id} today")


def cancelled(project_id: int, generation: int) -> None:
    """End its own process, as a job that was cancelled and can't stop by itself."""
    set_mark()
    os.killpg(os.getpgrp(), signal.SIGKILL)


for name, function, timeout in [
    ("note", "note", 60),
    ("hang", "hang", 60),
    ("brief", "hang", 1),
    ("wait", "wait_for_file", 60),
    ("swallow", "swallow", 1),
    ("fail", "fail", 60),
    ("cancelled", "cancelled", 60),
]:
    register_kind(JobKind(name, f"trial_jobs:{function}", QUEUE, timeout))


def main() -> None:
    """Work until a signal comes."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    url, folder, *options = sys.argv[1:]
    os.environ[FOLDER] = folder
    run_worker(
        QUEUE,
        url,
        preload=lambda: _note(f"preloaded {os.getpid()}"),
        after_fork=lambda: _note(f"forked {os.getpid()}"),
        burst="burst" in options,
    )


if __name__ == "__main__":
    main()
