"""The path of the guests' process's socket, and the lock that keeps a second process away."""

import contextlib
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

from store.settings import Settings
from worker.queues.valkey_server import EXIT_IN_USE, LONGEST_SOCKET_PATH, private_folder

log = structlog.get_logger()


def socket_path(settings: Settings) -> Path:
    """The path of the socket; in /tmp when the home folder's path is too long."""
    beside = settings.home / "run" / "guests.sock"
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    key = hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:16]
    return Path(f"/tmp/apprentice-{os.getuid()}-{key}") / beside.name  # noqa: S108


@contextlib.contextmanager
def lock_socket(socket: Path) -> Iterator[None]:
    """Lock the socket for a `with` block, and remove the socket of a killed process."""
    private_folder(socket.parent)
    lock = os.open(socket.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another process runs the guests already", socket=str(socket))  # noqa: TRY400
            sys.exit(EXIT_IN_USE)
        socket.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)
