"""Acknowledged webhooks, durable before they are answered, until they are applied.

Appending waits for nothing but the disk: not for the database, nor for whoever writes there. All
that wait share one sync. The position up to which records were applied is kept in the database, in
the transaction that applies them.
"""

import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from store.inbox.log import RecordLog, read_files, require_unused

FOLDER = "inbox"  # in the home
GROUP_BYTES = 16_000_000  # about the most that shares one sync
WAITING_BYTES = 256_000_000  # that wait for the disk; more is refused
REJECTED = "rejected"  # the folder of records that can't be applied
KEPT_REJECTED = 1_000  # the newest of them


class InboxFullError(Exception):
    """The disk is too slow for what comes; try again in a moment."""


@dataclass(frozen=True)
class Delivery:
    """A webhook as it came. `received_at` is in seconds since 1970."""

    connection_id: str
    body: bytes
    received_at: float
    number: int = 0  # in its inbox, once it is there

    def encode(self) -> bytes:
        """As a record: a line of JSON, then the body."""
        head = {"connection": self.connection_id, "received_at": self.received_at}
        return json.dumps(head).encode() + b"\n" + self.body

    @classmethod
    def decode(cls, number: int, record: bytes) -> "Delivery":
        """The inverse of `encode`."""
        head, _, body = record.partition(b"\n")
        fields = json.loads(head)
        return cls(fields["connection"], body, fields["received_at"], number)


class Inbox:
    """The inbox in a home folder, with a thread that writes it.

    Args:
        observe: is told the seconds of each write with its sync.

    Raises:
        LogInUseError: another process serves from this home.
    """

    def __init__(self, home: Path, observe: Callable[[float], None] = lambda _: None) -> None:
        self.folder = home / FOLDER
        self._log = RecordLog(self.folder)
        self.id = _read_id(self.folder) or _write_id(self.folder)
        self._applied = 0
        self._changed = threading.Condition()  # records are durable, or were applied
        self._observe = observe
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[None]] | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    def resume(self, applied: int) -> None:
        """Continue after what was applied before: the number of the last such record."""
        self._log.begin_after(applied)
        self._applied = applied

    @property
    def depth(self) -> int:
        """How many records are to be applied."""
        return max(self._log.durable - self._applied, 0)

    def submit(self, delivery: Delivery) -> "Future[None]":
        """Append a delivery; the future is done when it is durable.

        Its error is an OSError when the disk is full or broken: the delivery isn't stored then.

        Raises:
            InboxFullError: too much is waiting for the disk.
        """
        record = delivery.encode()
        future: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise InboxFullError("the process is stopping")
            if self._waiting_bytes and self._waiting_bytes + len(record) > WAITING_BYTES:
                raise InboxFullError("the disk is too slow for what comes")
            self._waiting_bytes += len(record)
            self._waiting.put((record, future))
        return future

    def read(self, most: int, most_bytes: int) -> list[Delivery]:
        """The next deliveries, in order: so many, about so many bytes; none if there is none."""
        durable = self._log.durable
        frames = self._log.read(most, most_bytes)
        if not frames:  # what the disk has lost is waited for no longer
            self.mark_applied(durable)
        return [
            Delivery.decode(frame.number, frame.payload)
            for frame in frames
            if frame.number > self._applied
        ]

    def mark_applied(self, number: int) -> None:
        """Let go of the records up to `number`: the database says that they are applied."""
        self._log.delete_until(number)
        with self._changed:
            self._applied = number
            self._changed.notify_all()

    def wait_for_new(self, seconds: float, stopped: threading.Event) -> bool:
        """Wait until there is a record to be applied; False after that time, or when stopped."""
        with self._changed:
            self._changed.wait_for(lambda: stopped.is_set() or self.depth > 0, seconds)
        return self.depth > 0 and not stopped.is_set()

    def wake(self) -> None:
        """Let whoever waits look again whether it is stopped."""
        with self._changed:
            self._changed.notify_all()

    def wait_until_applied(self, seconds: float) -> bool:
        """Wait until all that is durable now is applied; False when that takes longer."""
        number = self._log.durable
        with self._changed:
            return self._changed.wait_for(lambda: self._applied >= number, seconds)

    def rename(self) -> None:
        """Take another id: this folder is a copy, and the original uses the id too."""
        self.id = _write_id(self.folder)

    def put_aside(self, delivery: Delivery, reason: str) -> None:
        """Keep a delivery that can't be applied, with the reason, in a file for people to read."""
        folder = self.folder / REJECTED
        folder.mkdir(mode=0o700, exist_ok=True)
        kept = {
            "reason": reason,
            "connection": delivery.connection_id,
            "received_at": delivery.received_at,
            "body": delivery.body.decode(errors="replace"),
        }
        path = folder / f"{delivery.number:020}.json"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(kept, file)
        for old in sorted(folder.glob("*.json"))[:-KEPT_REJECTED]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Append what was submitted, and let go of the files."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group = [self._waiting.get()]
            size = 0
            while size < GROUP_BYTES and group[-1] is not None:
                size += len(group[-1][0])
                if self._waiting.empty():
                    break
                group.append(self._waiting.get())
            stopping = group[-1] is None
            self._write([each for each in group if each is not None])

    def _write(self, group: "list[tuple[bytes, Future[None]]]") -> None:
        # Whoever gave up waiting meanwhile was told of a failure.
        group = [each for each in group if each[1].set_running_or_notify_cancel()]
        if not group:
            return
        began = time.perf_counter()
        try:
            self._log.append([record for record, _ in group])
        except Exception as error:  # it belongs to those who wait
            for _, future in group:
                future.set_exception(error)
        else:
            for _, future in group:
                future.set_result(None)
            with self._changed:
                self._changed.notify_all()
        finally:
            self._observe(time.perf_counter() - began)
            with self._lock:
                self._waiting_bytes -= sum(len(record) for record, _ in group)


def require_own_home(home: Path) -> None:
    """Raise LogInUseError when another process serves from this home."""
    require_unused(home / FOLDER)


def stored_id(home: Path) -> str:
    """The id of a home's inbox; empty when it has none."""
    return _read_id(home / FOLDER)


def list_waiting(home: Path) -> dict[int, float]:
    """{number: time of receipt} of the records in the files, applied or not, without a lock."""
    received = {}
    for frame in read_files(home / FOLDER):
        delivery = Delivery.decode(frame.number, frame.payload)
        received[delivery.number] = delivery.received_at
    return received


def count_rejected(home: Path) -> int:
    """How many deliveries of this home were put aside."""
    return sum(1 for _ in (home / FOLDER / REJECTED).glob("*.json"))


def _read_id(folder: Path) -> str:
    path = folder / "id"
    return path.read_text().strip() if path.exists() else ""


def _write_id(folder: Path) -> str:
    """Make the inbox's name in the database, which several backends may share."""
    made = secrets.token_hex(8)
    temporary = folder / "id.new"
    temporary.write_text(made)
    temporary.chmod(0o600)
    temporary.replace(folder / "id")
    return made
