"""Starts the processes of `apprentice up`, restarts those that end, and stops them all.

Each process gets a session of its own, so that a Ctrl-C at the terminal reaches the supervisor
alone, and so that a process can be killed with its descendants. Stopping is SIGTERM, a grace
period, then SIGKILL to the whole session; if the supervisor itself is killed, its children die
with it (`parent_death`).
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import structlog

from worker.supervision.child_process import ChildProcess, ProcessSpec, shorten_log
from worker.supervision.parent_death import ParentDeathGuard, require_main_thread

__all__ = ["ProcessSpec", "StartFailedError", "Supervisor"]

LOG_CHECK_SECONDS = 60.0
READY_POLL_SECONDS = 0.05
START_ATTEMPTS = 3  # of a process that was never ready
TAIL_BYTES = 2000  # of a log, in an error
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = structlog.get_logger(__name__)


class StartFailedError(RuntimeError):
    """A process didn't become ready; all processes were stopped again."""


class Supervisor:
    """Keeps a set of processes running until a signal stops it.

    Args:
        specs: the processes. `after` may name only earlier ones.
        log_dir: the folder of the processes' logs; None for the supervisor's own stderr.
    """

    def __init__(self, specs: Sequence[ProcessSpec], log_dir: Path | None = None) -> None:
        seen: set[str] = set()
        for spec in specs:
            if spec.name in seen or not seen.issuperset(spec.after):
                raise ValueError(f"{spec.name}: named twice, or after something that comes later")
            seen.add(spec.name)
        self._log_dir = log_dir
        self._parent_death: ParentDeathGuard | None = None
        self._children = {spec.name: ChildProcess(spec, self._open_log) for spec in specs}
        self._signals = 0
        self._logs_checked = time.monotonic()

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Run the processes until SIGINT, SIGTERM or SIGHUP, then stop them all.

        A second signal ends the grace period.

        Args:
            on_ready: called once, when all are ready.

        Raises:
            StartFailedError: a process didn't become ready.
        """
        require_main_thread()
        if self._log_dir is not None:
            self._log_dir.mkdir(parents=True, exist_ok=True)
        self._parent_death = ParentDeathGuard()
        try:
            with self._signal_pipe() as wake:
                try:
                    self._run_until_signal(wake, on_ready)
                finally:
                    self._stop_all(wake)
        finally:
            self._parent_death.close()

    def pids(self) -> dict[str, int]:
        """Return {name: pid} of the processes that run now."""
        return {name: child.pid for name, child in self._children.items() if child.pid}

    # Starting and restarting

    def _run_until_signal(self, wake: int, on_ready: Callable[[], None] | None) -> None:
        while not self._signals:
            for child in self._children.values():
                self._supervise(child)
            if on_ready is not None and all(child.was_ready for child in self._children.values()):
                on_ready()
                on_ready = None
            self._shorten_logs()
            self._wait(wake, self._seconds_until_due())

    def _supervise(self, child: ChildProcess) -> None:
        assert self._parent_death is not None
        if child.has_ended():
            self._handle_exit(child)
        if child.pid == 0 and child.start_at <= time.monotonic() and self._can_start(child):
            child.start(self._parent_death)
            log.info("process.started", process=child.spec.name, pid=child.pid)
        if child.pid and not child.was_ready:
            self._check_ready(child)

    def _can_start(self, child: ChildProcess) -> bool:
        return child.was_ready or all(self._children[name].was_ready for name in child.spec.after)

    def _handle_exit(self, child: ChildProcess) -> None:
        code = child.kill()
        log.warning(
            "process.ended",
            process=child.spec.name,
            exit_code=code,
            failures=child.failures,
        )
        if not child.was_ready and child.failures >= START_ATTEMPTS:
            raise StartFailedError(self._explain(child, f"ended with code {code}"))

    def _check_ready(self, child: ChildProcess) -> None:
        spec = child.spec
        if spec.ready is None or spec.ready():
            child.was_ready = True
            seconds = round(time.monotonic() - child.started, 2)
            log.info("process.ready", process=spec.name, seconds=seconds)
        elif time.monotonic() - child.started > spec.ready_seconds:
            raise StartFailedError(
                self._explain(child, f"wasn't ready after {spec.ready_seconds:.0f} s")
            )

    def _explain(self, child: ChildProcess, what: str) -> str:
        if self._log_dir is None:
            return f"{child.spec.name} {what}"
        path = self._log_dir / f"{child.spec.name}.log"
        tail = path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        return f"{child.spec.name} {what}. The end of {path}:\n{tail}"

    def _seconds_until_due(self) -> float:
        """Return the seconds until the next check, unless a signal comes first."""
        if any(child.pid and not child.was_ready for child in self._children.values()):
            return READY_POLL_SECONDS
        now = time.monotonic()
        waits = [
            child.start_at - now
            for child in self._children.values()
            if child.pid == 0 and self._can_start(child)
        ]
        return max(0.0, min([LOG_CHECK_SECONDS, *waits]))

    # Stopping

    def _stop_all(self, wake: int) -> None:
        """Stop all processes, each after those that need it."""
        while running := [child for child in self._children.values() if child.pid]:
            needed = {name for child in running for name in child.spec.after}
            for child in running:
                if child.spec.name not in needed:
                    child.terminate()
                if child.has_ended() or child.is_overdue() or self._signals > 1:
                    child.kill()
                    log.info("process.stopped", process=child.spec.name)
            if any(child.pid for child in running):
                self._wait(wake, READY_POLL_SECONDS)

    # Signals, waiting, logs

    @contextlib.contextmanager
    def _signal_pipe(self) -> Iterator[int]:
        """Yield a file descriptor that a signal, or the end of a child, makes readable."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        old_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        old = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield reader
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old_fd)
            os.close(reader)
            os.close(writer)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        self._signals += 1

    @staticmethod
    def _wait(wake: int, seconds: float) -> None:
        if select.select([wake], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)

    @contextlib.contextmanager
    def _open_log(self, name: str) -> Iterator[IO[bytes] | None]:
        if self._log_dir is None:
            yield None
            return
        with (self._log_dir / f"{name}.log").open("ab") as file:
            yield file

    def _shorten_logs(self) -> None:
        """Shorten long logs once a minute."""
        if self._log_dir is None or time.monotonic() - self._logs_checked < LOG_CHECK_SECONDS:
            return
        self._logs_checked = time.monotonic()
        for name in self._children:
            shorten_log(self._log_dir / f"{name}.log")
