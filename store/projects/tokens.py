"""Label Studio's tokens: each in a file of its own, beside an SQLite database.

The database is copied and sent around, to find out why something fails; its tokens must not be. On
another database, which several machines share, they are in its table.
"""

import json
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, select, update

from store.database.schema import connection

FOLDER = "tokens"


def store_token(db: Connection, connection_id: str, url: str, token: str) -> str:
    """Store a connection's token; return what its row holds: nothing where there is a file."""
    path = _path(db, connection_id)
    if path is None:
        return token
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            # With its URL: it must go to no other server, whatever the database says.
            json.dump({"url": url, "token": token}, file)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    return ""


def read_token(db: Connection, connection_id: str, url: str, stored: str) -> str:
    """Read a connection's token, given what its row holds; "" when it is lost."""
    path = _path(db, connection_id)
    if stored or path is None:
        return stored
    try:
        content = json.loads(path.read_text())
        return str(content["token"]) if content["url"] == url else ""
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def move_tokens(db: Connection) -> int:
    """Move tokens that an earlier version stored in the table to files; returns how many."""
    if _path(db, "any") is None:
        return 0
    rows = db.execute(select(connection).where(connection.c.token != "")).all()
    for row in rows:
        stored = store_token(db, row.id, row.url, row.token)
        db.execute(update(connection).where(connection.c.id == row.id).values(token=stored))
    return len(rows)


def _path(db: Connection, connection_id: str) -> Path | None:
    """The file of a connection's token; None where there is none."""
    database = db.engine.url.database
    if db.dialect.name != "sqlite" or not database or database == ":memory:":
        return None
    return Path(database).parent / FOLDER / f"{quote(connection_id, safe='')}.json"
