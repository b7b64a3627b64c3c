"""Explains errors of the database and of the file system in words: what happened, what to do."""

import errno
import sqlite3

FULL = "the disk is full: free some space on it"
READ_ONLY = "the file can't be written: its disk or its folder is read-only for this user"
LOCKED = "another process keeps the database locked"

_SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_CORRUPT: "the database file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
    sqlite3.SQLITE_CANTOPEN: "the database file can't be opened: check its folder's permissions",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write the database: see the system's log",
}
_OS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: READ_ONLY,
    errno.EACCES: "permission denied: the file belongs to another user",
    errno.EPERM: "permission denied: the file belongs to another user",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
}


def explain_fault(error: BaseException) -> str:
    """Say in words what an error of the database or the file system means.

    An error that isn't known is told by its message, which for SQLAlchemy's errors is the
    driver's own, without the statement.
    """
    origin = getattr(error, "orig", None) or error
    words = None
    if isinstance(origin, sqlite3.Error):
        words = _SQLITE.get(getattr(origin, "sqlite_errorcode", 0) & 0xFF)
    elif isinstance(origin, OSError):
        words = _OS.get(origin.errno or 0)
        if words and origin.filename:
            words = f"{origin.filename}: {words}"
    text = str(origin).strip() or type(origin).__name__
    return words or text.splitlines()[0]
