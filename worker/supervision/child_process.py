"""A supervised child process: start, restart delays, and killing it with its descendants."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from worker.supervision.parent_death import ParentDeathGuard
from worker.supervision.process_identity import start_time

HEALTHY_SECONDS = 30.0  # a process that ran so long is restarted at once
RESTART_WAITS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds, by failures in a row
LOG_BYTES = 10_000_000  # a log longer than that becomes NAME.log.1, and begins anew
STDERR = 2


@dataclass(frozen=True)
class ProcessSpec:
    """The command and the conditions of a supervised process.

    Attributes:
        name: unique; its log is `NAME.log`.
        argv: the command, without a shell.
        env: variables that are added to the supervisor's own.
        cwd: None for the supervisor's.
        ready: called at the first start until it is true; it takes less than a second and doesn't
            raise. None: ready at once.
        after: names of processes that must be ready before this one starts, and that are stopped
            only after it has ended.
        ready_seconds: the longest time from start to ready.
        grace_seconds: from SIGTERM to SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready: Callable[[], bool] | None = None
    after: tuple[str, ...] = ()
    ready_seconds: float = 60.0
    grace_seconds: float = 10.0


class ChildProcess:
    """A supervised process, over all its restarts.

    Attributes:
        was_ready: whether it has ever been ready.
        failures: how often in a row it has ended soon after its start.
        start_at: the earliest time of its next start, on the monotonic clock.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        open_log: Callable[[str], AbstractContextManager[IO[bytes] | None]],
    ) -> None:
        self.spec = spec
        self.was_ready = False
        self.failures = 0
        self.started = 0.0
        self.start_at = 0.0
        self._open_log = open_log
        self._process: subprocess.Popen[bytes] | None = None
        self._kill_at = 0.0

    @property
    def pid(self) -> int:
        """The id of its process and of its session; 0 when it doesn't run."""
        return self._process.pid if self._process is not None else 0

    def start(self, parent_death: ParentDeathGuard) -> None:
        """Start it in a session of its own, bound to this process."""
        with self._open_log(self.spec.name) as output:
            self._process = subprocess.Popen(
                parent_death.command(self.spec.argv),
                env={**os.environ, **self.spec.env},
                cwd=self.spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=STDERR if output is None else output,
                stderr=STDERR if output is None else output,
                start_new_session=True,
                pass_fds=parent_death.pass_fds,
            )
        self.started = time.monotonic()
        self._kill_at = 0.0

    def has_ended(self) -> bool:
        """Whether it was started and has ended since."""
        return self._process is not None and self._process.poll() is not None

    def terminate(self) -> None:
        """Send SIGTERM, once."""
        if self._process is not None and not self._kill_at:
            self._kill_at = time.monotonic() + self.spec.grace_seconds
            self._process.terminate()

    def is_overdue(self) -> bool:
        """Whether `grace_seconds` have passed since SIGTERM."""
        return bool(self._kill_at) and time.monotonic() >= self._kill_at

    def kill(self) -> int:
        """Kill its whole session and wait for it; return its exit code (-n: by signal n)."""
        if self._process is None:
            raise RuntimeError(f"{self.spec.name} isn't running")
        kill_session(self._process.pid)
        code = self._process.wait()
        self._process = None
        runtime = time.monotonic() - self.started
        self.failures = 1 if runtime >= HEALTHY_SECONDS else self.failures + 1
        self.start_at = time.monotonic() + RESTART_WAITS[min(self.failures, len(RESTART_WAITS)) - 1]
        return code


def kill_session(session: int) -> None:
    """Kill every process of a session; a process that made a session of its own isn't in it."""
    while members := [pid for pid in psutil.pids() if _is_in_session(pid, session)]:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)  # killing takes a moment; a fork under way is listed next time


def _is_in_session(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and start_time(pid) is not None
    except (ProcessLookupError, PermissionError):
        return False


def shorten_log(path: Path, longest: int = LOG_BYTES) -> None:
    """Move a log that is too long to `PATH.1`. Its writers append, and go on in the emptied file.

    Lines written at that very moment may be lost.
    """
    if path.exists() and path.stat().st_size > longest:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
