"""Paths, folders and locks of unix sockets.

It imports the standard library alone, since the broker's start does (valkey_server).
"""

import contextlib
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST_SOCKET_PATH = 100  # bytes; the systems' limits are 108 (Linux) and 104 (macOS)
EXIT_IN_USE = 3


class FolderError(RuntimeError):
    """A folder that should be this user's alone isn't."""


def short_path(beside: Path, home: Path) -> Path:
    """The path of a socket: `beside`, or in /tmp where that is too long.

    It depends on the home and the user alone, never on the environment, so that all processes of
    all sessions get the same path.
    """
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    key = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    return Path(f"/tmp/apprentice-{os.getuid()}-{key}") / beside.name  # noqa: S108


def private_folder(folder: Path) -> None:
    """Make a folder that only this user can enter; an existing one is checked.

    Raises:
        FolderError: it belongs to someone else, or it is a link.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or not folder.is_dir() or status.st_uid != os.getuid():
        raise FolderError(f"{folder} isn't a folder of yours: remove it, or move APPRENTICE_HOME")
    folder.chmod(0o700)


@contextlib.contextmanager
def lock_socket(socket: Path, process: str) -> Iterator[None]:
    """Lock the socket for a `with` block, and remove the socket of a killed process.

    Args:
        process: the noun of what listens there. Where another one runs, this process ends.
    """
    private_folder(socket.parent)
    lock = os.open(socket.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another {process} runs already, at {socket}", file=sys.stderr)  # noqa: T201
            sys.exit(EXIT_IN_USE)
        socket.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)
