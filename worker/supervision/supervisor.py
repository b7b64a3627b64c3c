"""The launcher: starts the processes of `apprentice up`, keeps them up, and leaves none behind.

Each process gets a session of its own, so that a Ctrl-C at the terminal reaches the launcher alone
and the end of a process takes its children along. Stopping is SIGTERM, a grace, then SIGKILL to all
of the session; if the launcher itself is killed, its children die with it (`parent_death`).
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

from worker.supervision.child_process import Child, ProcessSpec, shorten_log
from worker.supervision.parent_death import Lifeline, require_main_thread

__all__ = ["ProcessSpec", "StartFailedError", "Supervisor"]

LOG_CHECK_SECONDS = 60.0
READY_POLL_SECONDS = 0.05
START_ATTEMPTS = 3  # of a process that was never ready
TAIL_BYTES = 2000  # of a log, in an error
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = structlog.get_logger(__name__)


class StartFailedError(RuntimeError):
    """A process didn't come up; everything was stopped again."""


class Supervisor:
    """Keeps a set of processes running until it is told to stop.

    Args:
        specs: what to run. `after` may name only earlier ones.
        log_dir: where each process's output goes; None for the launcher's own stderr.
    """

    def __init__(self, specs: Sequence[ProcessSpec], log_dir: Path | None = None) -> None:
        seen: set[str] = set()
        for spec in specs:
            if spec.name in seen or not seen.issuperset(spec.after):
                raise ValueError(f"{spec.name}: named twice, or after something that comes later")
            seen.add(spec.name)
        self._log_dir = log_dir
        self._lifeline: Lifeline | None = None
        self._children = {spec.name: Child(spec, self._open_log) for spec in specs}
        self._signals = 0
        self._logs_checked = time.monotonic()

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Run the processes until SIGINT, SIGTERM or SIGHUP, then stop them all.

        A second signal cuts the grace short.

        Args:
            on_ready: called once, when all are ready.

        Raises:
            StartFailedError: one of them didn't come up.
        """
        require_main_thread()
        if self._log_dir is not None:
            self._log_dir.mkdir(parents=True, exist_ok=True)
        self._lifeline = Lifeline()
        try:
            with self._woken_by_signals() as wake:
                try:
                    self._keep_up(wake, on_ready)
                finally:
                    self._stop_all(wake)
        finally:
            self._lifeline.close()

    def pids(self) -> dict[str, int]:
        """The processes that run now."""
        return {name: child.pid for name, child in self._children.items() if child.pid}

    # Starting and keeping up

    def _keep_up(self, wake: int, on_ready: Callable[[], None] | None) -> None:
        while not self._signals:
            for child in self._children.values():
                self._look_after(child)
            if on_ready is not None and all(child.was_ready for child in self._children.values()):
                on_ready()
                on_ready = None
            self._shorten_logs()
            self._wait(wake, self._next_look())

    def _look_after(self, child: Child) -> None:
        assert self._lifeline is not None
        if child.has_ended():
            self._note_end(child)
        if child.pid == 0 and child.due <= time.monotonic() and self._may_start(child):
            child.start(self._lifeline)
            log.info("process.started", process=child.spec.name, pid=child.pid)
        if child.pid and not child.was_ready:
            self._ask_if_ready(child)

    def _may_start(self, child: Child) -> bool:
        return child.was_ready or all(self._children[name].was_ready for name in child.spec.after)

    def _note_end(self, child: Child) -> None:
        code = child.bury()
        log.warning(
            "process.ended",
            process=child.spec.name,
            exit_code=code,
            failures=child.failures,
        )
        if not child.was_ready and child.failures >= START_ATTEMPTS:
            raise StartFailedError(self._explain(child, f"ended with code {code}"))

    def _ask_if_ready(self, child: Child) -> None:
        spec = child.spec
        if spec.ready is None or spec.ready():
            child.was_ready = True
            seconds = round(time.monotonic() - child.started, 2)
            log.info("process.ready", process=spec.name, seconds=seconds)
        elif time.monotonic() - child.started > spec.ready_seconds:
            raise StartFailedError(
                self._explain(child, f"wasn't ready after {spec.ready_seconds:.0f} s")
            )

    def _explain(self, child: Child, what: str) -> str:
        if self._log_dir is None:
            return f"{child.spec.name} {what}"
        path = self._log_dir / f"{child.spec.name}.log"
        tail = path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        return f"{child.spec.name} {what}. The end of {path}:\n{tail}"

    def _next_look(self) -> float:
        """Seconds until something may have to be done, unless a signal comes first."""
        if any(child.pid and not child.was_ready for child in self._children.values()):
            return READY_POLL_SECONDS
        now = time.monotonic()
        waits = [
            child.due - now
            for child in self._children.values()
            if child.pid == 0 and self._may_start(child)
        ]
        return max(0.0, min([LOG_CHECK_SECONDS, *waits]))

    # Stopping

    def _stop_all(self, wake: int) -> None:
        """Stop what nothing else needs any more, until all is stopped."""
        while running := [child for child in self._children.values() if child.pid]:
            needed = {name for child in running for name in child.spec.after}
            for child in running:
                if child.spec.name not in needed:
                    child.terminate()
                if child.has_ended() or child.is_overdue() or self._signals > 1:
                    child.bury()
                    log.info("process.stopped", process=child.spec.name)
            if any(child.pid for child in running):
                self._wait(wake, READY_POLL_SECONDS)

    # Signals, waiting, logs

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[int]:
        """Signals, and the end of a child, make a descriptor readable."""
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
        """Cut long logs. Their writers append, so they go on at the new end."""
        if self._log_dir is None or time.monotonic() - self._logs_checked < LOG_CHECK_SECONDS:
            return
        self._logs_checked = time.monotonic()
        for name in self._children:
            shorten_log(self._log_dir / f"{name}.log")
