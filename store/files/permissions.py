"""Keeps the data folder to its user: it holds tokens, labels and names of tasks."""

import contextlib
import os
import stat
from pathlib import Path

from store.database.faults import explain_fault

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
OTHERS = 0o077
EVERYBODY_WRITES = stat.S_IWOTH


class HomeError(Exception):
    """The data folder can't be written, or not closed to others; the message says what to do."""


def make_files_private() -> None:
    """Have this process, and those that it starts, make files that only their user can open."""
    os.umask(OTHERS)


def secure_folder(folder: Path) -> None:
    """Make a folder, or close an existing one and the files in it to other users.

    A folder of another user can't be closed: a volume in a container, for example. Then our files
    in it are, and it is refused only where everybody may replace them.

    Raises:
        HomeError: it can't be written, or stays open to others.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    except OSError as error:
        raise HomeError(f"APPRENTICE_HOME can't be made: {explain_fault(error)}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise HomeError(
            f"{folder} can't be written: its disk is read-only, or it belongs to another user; set "
            "APPRENTICE_HOME to a folder of your own"
        )
    if _is_ours(folder):
        _close(folder, PRIVATE_FOLDER)
    elif (mode := folder.stat().st_mode) & EVERYBODY_WRITES and not mode & stat.S_ISVTX:
        raise HomeError(
            f"{folder} belongs to another user and everybody may write to it: set APPRENTICE_HOME "
            "to a folder of your own"
        )
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # SQLite and others remove their own
            if path.is_file() and not path.is_symlink() and _is_ours(path):
                _close(path, PRIVATE_FILE)


def _is_ours(path: Path) -> bool:
    return os.getuid() in (0, path.stat().st_uid)


def _close(path: Path, mode: int) -> None:
    if not path.stat().st_mode & OTHERS:
        return
    with contextlib.suppress(PermissionError):  # told below
        path.chmod(mode)
    if path.stat().st_mode & OTHERS:
        raise HomeError(
            f"{path} stays readable for other users of this machine, since its disk keeps no "
            "permissions: set APPRENTICE_HOME to a folder on another one"
        )
