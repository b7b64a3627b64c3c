"""A process that hosts a guest, with a deadline for every answer."""

import contextlib
import json
import os
import select
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.guests.specification import GuestSpec
from worker.supervision.child_process import kill_session
from worker.supervision.parent_death import ParentDeathGuard

HOST = Path(__file__).with_name("host.py")
HEADER = struct.Struct(">I")
LONGEST = 64_000_000  # bytes of an answer
PIECE = 1 << 20  # bytes read at a time
WATCH_SECONDS = 0.5  # between two calls of `watch`
TAIL = 2_000  # bytes of a log in which its last line is looked for
# What a guest needs no more than any other model would.
SECRETS = ("APPRENTICE_", "BASIC_AUTH_")


class GuestError(Exception):
    """The guest raised an exception; it can be asked again."""


class GuestLostError(Exception):
    """The guest's process has ended, or was killed: the message says why."""


class GuestProcess:
    """A guest in a process of its own, which is killed when it doesn't answer in time.

    Args:
        spec: the guest.
        model_dir: where it keeps its files (`MODEL_DIR`).
        log: the file that gets what it prints.
        private_addresses: from which the stand-in downloads: none, all, or hosts and networks.

    Attributes:
        description: its interface, whether it learns, and its Python.
    """

    def __init__(
        self, spec: GuestSpec, model_dir: Path, log: Path, *, private_addresses: str = "false"
    ) -> None:
        self._log = log
        self._guard = ParentDeathGuard()
        model_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(SECRETS)}
        environment |= {
            "MODEL_DIR": str(model_dir),
            "PYTHONUNBUFFERED": "1",
            "GUEST_PRIVATE_ADDRESSES": private_addresses,
        }
        requests, self._write = os.pipe()
        self._read, answers = os.pipe()
        what = (str(spec.file), spec.class_name, str(requests), str(answers))
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    self._guard.command([spec.python, str(HOST), *what]),
                    cwd=spec.file.parent,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=(requests, answers, *self._guard.pass_fds),
                )
        finally:
            os.close(requests)
            os.close(answers)
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        self._watch: Callable[[], None] | None = None
        self.description: Mapping[str, Any] = {}

    def start(self, seconds: float) -> None:
        """Wait until the class is loaded.

        Raises:
            GuestError: it can't be loaded.
            GuestLostError: its process ended, or took too long.
        """
        self.description = self._answer(time.monotonic() + seconds, "loading it")

    def request(
        self,
        method: str,
        seconds: float,
        *,
        watch: Callable[[], None] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Ask the guest, and wait for its answer.

        Args:
            watch: called about twice a second meanwhile; what it raises ends the guest.

        Raises:
            GuestError: the guest raised an exception.
            GuestLostError: its process ended, or was killed since the answer took too long.
        """
        body = json.dumps({"method": method, **arguments}).encode("utf-8", "replace")
        deadline = time.monotonic() + seconds
        self._watch = watch
        self._send(HEADER.pack(len(body)) + body, deadline, method)
        return self._answer(deadline, method)

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def last_line(self) -> str:
        """The last line that the guest printed."""
        return last_line(self._log)

    def kill(self) -> None:
        """Kill the process with all that it has started."""
        if self._process.returncode is None:
            kill_session(self._process.pid)
            self._process.wait()
        if self._read >= 0:
            os.close(self._read)
            os.close(self._write)
            self._guard.close()
        self._read = self._write = -1

    def _send(self, data: bytes, deadline: float, what: str) -> None:
        view = memoryview(data)
        while view:
            self._wait([], [self._write], deadline, what)
            try:
                view = view[os.write(self._write, view[:PIECE]) :]
            except BrokenPipeError:
                raise self._ended(what) from None

    def _answer(self, deadline: float, what: str) -> dict[str, Any]:
        (length,) = HEADER.unpack(self._receive(HEADER.size, deadline, what))
        if length > LONGEST:
            self.kill()
            raise GuestLostError(f"{what}: an answer of {length:,} bytes; it was stopped")
        message = json.loads(self._receive(length, deadline, what))
        if "error" in message:
            error = message["error"]
            raise GuestError(f"{error['type']}: {error['message']}".rstrip(": "))
        result: dict[str, Any] = message["result"]
        return result

    def _receive(self, count: int, deadline: float, what: str) -> bytes:
        parts: list[bytes] = []
        while count > 0:
            self._wait([self._read], [], deadline, what)
            part = os.read(self._read, min(count, PIECE))
            if not part:
                raise self._ended(what)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _wait(self, reads: list[int], writes: list[int], deadline: float, what: str) -> None:
        while not any(select.select(reads, writes, [], _pause(deadline))):
            if self._watch is not None:
                try:
                    self._watch()
                except BaseException:
                    self.kill()
                    raise
            if time.monotonic() >= deadline:
                self.kill()
                raise GuestLostError(f"{what}: no answer in time; it was stopped")

    def _ended(self, what: str) -> GuestLostError:
        """The error of a process that has closed its pipe."""
        said = self.last_line()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        self.kill()
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with code {code}"
        return GuestLostError(f"{what}: its process {how}" + (f": {said}" if said else ""))


def _pause(deadline: float) -> float:
    return min(max(deadline - time.monotonic(), 0.0), WATCH_SECONDS)


def last_line(log: Path) -> str:
    """The last line of a log; of a progress bar, what it shows now."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
