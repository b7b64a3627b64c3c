"""What a model remembers by `set` and `get`: text by project and key, in `MODEL_DIR/cache.db`."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

_TABLE = (
    "CREATE TABLE IF NOT EXISTS cache (project_id TEXT NOT NULL, key TEXT NOT NULL, "
    "value TEXT NOT NULL, PRIMARY KEY (project_id, key))"
)


def _open() -> sqlite3.Connection:
    folder = Path(os.environ.get("MODEL_DIR") or ".")
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "cache.db", timeout=30)
    connection.execute(_TABLE)
    return connection


def read(project: str, key: str) -> str | None:
    """The value; None when there is none."""
    with closing(_open()) as db:
        found = db.execute(
            "SELECT value FROM cache WHERE project_id = ? AND key = ?", (project, key)
        ).fetchone()
    return found[0] if found else None


def write(project: str, key: str, value: str) -> None:
    """Store a value. Raises TypeError unless it is text."""
    if not isinstance(value, str):
        raise TypeError("Value must be a string")
    with closing(_open()) as db, db:
        db.execute("REPLACE INTO cache VALUES (?, ?, ?)", (project, key, value))
