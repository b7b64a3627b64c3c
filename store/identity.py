"""The identity of a store: tells whether two processes work with the same one."""

import hashlib
import platform
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import IntegrityError

from store.projects.key_values import IDENTITY
from store.store import Store

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class StoreIdentity:
    """A database, as one machine sees it.

    Attributes:
        database: its id.
        machine: of the machine that opened it, where the database is a file: two machines must not
            write to one SQLite file, though a network share lets both open it. Empty for a server.
    """

    database: str
    machine: str


def create_identity(store: Store) -> StoreIdentity:
    """Read the identity; make it first in a new database. Its models' folder is marked with it."""

    def create(db: Connection) -> None:
        if IDENTITY.get(db) is None:
            IDENTITY.set(db, uuid.uuid4().hex)

    with suppress(IntegrityError):  # another process was faster
        store.database.write(create)
    identity = read_identity(store)
    assert identity is not None, "it was made a moment ago"
    store.artifacts.mark(identity.database)
    return identity


def read_identity(store: Store) -> StoreIdentity | None:
    """The identity; None when the database is new.

    Raises:
        SQLAlchemyError: the database is away.
    """
    with store.database.read() as db:
        is_new = not inspect(db).has_table("runtime")
        database = None if is_new else IDENTITY.get(db)
    if database is None:
        return None
    return StoreIdentity(database, this_machine() if store.database.is_sqlite else "")


def this_machine() -> str:
    """This machine in 16 hex digits; the same in all its containers."""
    try:
        seed = BOOT.read_text().strip()
    except OSError:  # elsewhere than on Linux
        seed = f"{platform.node()} {uuid.getnode():x}"
    return hashlib.sha256(seed.encode()).hexdigest()[:16]
