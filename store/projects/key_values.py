"""What the processes tell one another through the database."""

import time
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from store.database.schema import runtime

WEB_STARTED = "web_started"  # name of the time at which the web process was started last

_TOLD = select(runtime.c.value).where(runtime.c.name == bindparam("asked"))


def tell(db: Connection, name: str, value: Any) -> None:
    """Set `name` to a JSON value."""
    db.execute(delete(runtime).where(runtime.c.name == name))
    db.execute(insert(runtime).values(name=name, value=value, at=time.time()))


def told(db: Connection, name: str) -> Any:
    """The value of `name`, or None."""
    return db.execute(_TOLD, {"asked": name}).scalar()


def forget(db: Connection, name: str) -> None:
    """Take back what was told."""
    db.execute(delete(runtime).where(runtime.c.name == name))
