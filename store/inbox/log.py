"""A log of records in files of a folder: appended durably, read in order, deleted when done with.

A file is named for the number of its first record. Each process that opens the log appends to a
file of its own, so that a file with a torn end is never written again.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from store.inbox.frames import Damage, Frame, decode, encode

log = structlog.get_logger()

FILE_BYTES = 4_000_000  # after which a new file is begun
LOCK_SECONDS = 10.0  # a predecessor that is being stopped needs a moment
LOCK_POLL_SECONDS = 0.05
SUFFIX, DAMAGED = ".log", ".damaged"

# Writing and syncing in one call takes about half as long on a busy machine as in two.
APPEND = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DSYNC


class LogInUseError(RuntimeError):
    """Another process appends to this log."""


@dataclass
class _File:
    path: Path
    first: int  # number of its first record
    end: int  # bytes of it that are durable
    damaged: bool = False


class RecordLog:
    """The log in one folder. One thread appends, another one reads and deletes.

    Raises:
        LogInUseError: another process has it open.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._flock = _locked(folder / "lock")
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        self._files = [_File(path, int(path.stem), path.stat().st_size) for path in paths]
        self._lock = threading.Lock()  # of the list of files
        self._fd = -1  # of the newest file, once this process has appended to it
        self._reading = (0, 0)  # the file that begins with this record, and the offset in it
        self.durable = 0  # number of the newest durable record
        for file in self._files[-1:]:
            numbers = [found.number for found in _read(file, 0) if isinstance(found, Frame)]
            self.durable = max(numbers, default=file.first - 1)
        self._given = self.durable  # the last number given to a record

    def begin_after(self, number: int) -> None:
        """Let new records have numbers above `number`, whatever the files say."""
        self.durable = self._given = max(self._given, number)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Append records; they are durable when it returns, and `durable` is the last one's number.

        Raises:
            OSError: none of them counts as stored, and their numbers are not used again.
        """
        first = self._given + 1
        self._given += len(payloads)
        data = b"".join(encode(number, payload) for number, payload in enumerate(payloads, first))
        file = self._appendable(first)
        try:
            _write(self._fd, data)
        except OSError:
            self._abandon(file)
            raise
        file.end += len(data)
        self.durable = self._given

    def read(self, most: int, most_bytes: int) -> list[Frame]:
        """The next durable records: so many, about so many bytes, at least one if there is any."""
        frames: list[Frame] = []
        size = 0
        with self._lock:
            files = [file for file in self._files if file.first >= self._reading[0]]
        for file in files:
            offset = self._reading[1] if file.first == self._reading[0] else 0
            for found in _read(file, offset):
                self._reading = (file.first, found.end)
                if isinstance(found, Damage):
                    self._report(file, found)
                    continue
                frames.append(found)
                size += len(found.payload)
                if len(frames) >= most or size >= most_bytes:
                    return frames
        return frames

    def delete_until(self, number: int) -> None:
        """Delete files that hold only records up to `number`; damaged ones are renamed instead."""
        with self._lock:
            pairs = zip(self._files[:-1], self._files[1:], strict=True)
            done = [file for file, following in pairs if following.first <= number + 1]
            self._files = [file for file in self._files if file not in done]
        for file in done:
            if file.damaged:
                file.path.rename(file.path.with_suffix(DAMAGED))
            else:
                file.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files."""
        if self._fd >= 0:
            os.close(self._fd)
        os.close(self._flock)

    def _appendable(self, first: int) -> _File:
        if self._fd >= 0 and self._files[-1].end < FILE_BYTES:
            return self._files[-1]
        path = self._folder / f"{first:020}{SUFFIX}"
        fd = os.open(path, APPEND, 0o600)
        _sync_folder(self._folder)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        file = _File(path, first, 0)
        with self._lock:
            self._files.append(file)
        return file

    def _abandon(self, file: _File) -> None:
        """Cut off what is half written. A file whose sync failed isn't to be trusted any more."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, file.end)
        os.close(self._fd)
        self._fd = -1
        if file.end == 0:
            with self._lock:
                self._files.remove(file)
            with contextlib.suppress(OSError):
                file.path.unlink()

    def _report(self, file: _File, damage: Damage) -> None:
        """Log what can't be read.

        At the end of a file it is what a process was writing when it ended, acknowledged to nobody;
        elsewhere a disk has lost it.
        """
        torn = damage.end == file.end
        file.damaged = file.damaged or not torn
        log.log(
            logging.INFO if torn else logging.ERROR,
            "torn end left out" if torn else "damaged records left out",
            file=str(file.path),
            offset=damage.start,
            bytes=damage.end - damage.start,
        )


def require_unused(folder: Path) -> None:
    """Raise LogInUseError when another process has the log open."""
    if folder.exists():
        os.close(_locked(folder / "lock"))


def read_files(folder: Path) -> Iterator[Frame]:
    """All whole records in a log's files; another process may append to it and delete files."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(FileNotFoundError):
            for found in decode(path.read_bytes()):
                if isinstance(found, Frame):
                    yield found


def _read(file: _File, offset: int) -> Iterator[Frame | Damage]:
    """The frames that are durable in the file, from an offset on."""
    if offset >= file.end:
        return
    end = file.end
    with file.path.open("rb") as content:
        content.seek(offset)
        data = content.read(end - offset)
    for found in decode(data):
        if isinstance(found, Frame):
            yield Frame(found.number, found.payload, offset + found.end)
        else:
            yield Damage(offset + found.start, offset + found.end)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise LogInUseError(
                    f"another process serves from {path.parent.parent}: "
                    "give each its own APPRENTICE_HOME"
                ) from None
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return fd
