"""Kills child processes when their parent process ends, also by SIGKILL.

On Linux the kernel does it (`PR_SET_PDEATHSIG`); elsewhere the child watches a pipe whose other end
only the parent holds.

Run as a script (see `ParentDeathGuard.command`) it binds any command, also one that isn't Python,
so it imports nothing but the standard library. The kernel's signal comes when the *thread* that
made the child ends: parents start their children from the main thread.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
POLL_SECONDS = 0.2  # how late the pipe watcher notices that its command has ended
HAS_PDEATHSIG = sys.platform == "linux"


class ParentDeathError(RuntimeError):
    """A child can't be bound to its parent."""


class ParentDeathGuard:
    """Made by a parent process; kills the children that are bound to it when the parent ends.

    Args:
        by_kernel: let the kernel send the signal, by default where it can; else use a pipe.
    """

    def __init__(self, by_kernel: bool = HAS_PDEATHSIG) -> None:
        self.by_kernel = by_kernel
        self.parent = os.getpid()
        self._read, self._write = (-1, -1) if by_kernel else os.pipe()

    def bind(self) -> None:
        """Bind this process: a fork of the parent, and the leader of its own process group."""
        if self.by_kernel:
            die_with_parent(self.parent)
            return
        os.close(self._write)
        threading.Thread(target=self._watch, name="parent-death", daemon=True).start()

    def _watch(self) -> None:
        os.read(self._read, 1)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return `argv` wrapped so that its process is bound; start it with `pass_fds=pass_fds`."""
        return [sys.executable, "-I", "-S", __file__, str(self.parent), str(self._read), *argv]

    @property
    def pass_fds(self) -> tuple[int, ...]:
        """File descriptors that a wrapped command must inherit."""
        return () if self.by_kernel else (self._read,)

    def close(self) -> None:
        """Close the pipe. Children that are bound by it are killed."""
        if not self.by_kernel:
            os.close(self._read)
            os.close(self._write)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the process `parent` ends (Linux).

    Raises:
        ParentDeathError: the kernel refused.
    """
    if _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise ParentDeathError("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def require_main_thread() -> None:
    """Raise ParentDeathError in any other thread: its end would kill the child that it bound."""
    if HAS_PDEATHSIG and threading.current_thread() is not threading.main_thread():
        raise ParentDeathError("start bound processes from the main thread")


def _run(parent: int, pipe: int, argv: list[str]) -> None:
    if pipe < 0:
        die_with_parent(parent)
        os.execvp(argv[0], argv)  # noqa: S606
    _run_and_watch(pipe, argv)


def _run_and_watch(pipe: int, argv: list[str]) -> None:
    """Run the command in this process group; kill the group when the pipe closes."""
    child = subprocess.Popen(argv)

    def forward(signum: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signum)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, forward)
    while child.poll() is None:
        readable, _, _ = select.select([pipe], [], [], POLL_SECONDS)
        if readable:
            os.killpg(0, signal.SIGKILL)
    code = child.returncode
    sys.exit(code if code >= 0 else 128 - code)


if HAS_PDEATHSIG:
    _prctl = ctypes.CDLL(None, use_errno=True).prctl

if __name__ == "__main__":
    _run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
