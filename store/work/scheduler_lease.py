"""Which of several web processes schedules: a lease in the database, renewed while it is held.

Nobody's clock matters. A process takes the lease when it has seen no renewal for LEASE_SECONDS by
its own clock, and a holder that couldn't renew it for so long no longer counts itself as one.
"""

import time
import uuid

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from store.database.engine import Database
from store.database.schema import runtime

NAME = "scheduler"
LEASE_SECONDS = 4.0
RENEW_SECONDS = 1.0

_ROW = select(runtime.c.value, runtime.c.at).where(runtime.c.name == NAME)


class SchedulerLease:
    """The lease as one process sees it. For one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = uuid.uuid4().hex
        self._renewed_at = float("-inf")  # monotonic, before the renewal was sent
        self._seen: tuple[str, float] | None = None  # another's holder and time of renewal
        self._seen_since = 0.0  # monotonic

    def hold(self) -> bool:
        """Whether this process holds the lease now; renews or takes it where it can.

        Raises:
            SQLAlchemyError: the database is away.
        """
        now = time.monotonic()
        if now - self._renewed_at < RENEW_SECONDS:
            return True
        with self._database.read() as db:
            row = db.execute(_ROW).first()
        found = None if row is None else (str(row.value), float(row.at))
        if found is not None and found[0] != self._holder:
            if found != self._seen:
                self._seen, self._seen_since = found, now
            if now - self._seen_since < LEASE_SECONDS:
                return False
        if not self._database.write(lambda db: self._renew(db, found)):
            return False
        self._renewed_at = now
        return True

    def release(self) -> None:
        """Let another process take over at once."""

        def release(db: Connection) -> None:
            row = db.execute(_ROW).first()
            if row is not None and row.value == self._holder:
                db.execute(delete(runtime).where(runtime.c.name == NAME, runtime.c.at == row.at))

        if self._renewed_at > float("-inf"):
            self._database.write(release)
            self._renewed_at = float("-inf")

    def _renew(self, db: Connection, found: tuple[str, float] | None) -> bool:
        """Write our renewal in place of the one that was found; false when another was faster."""
        values = {"value": self._holder, "at": time.time()}
        if found is None:
            try:
                with db.begin_nested():
                    db.execute(insert(runtime).values(name=NAME, **values))
            except IntegrityError:
                return False
            return True
        unchanged = (runtime.c.name == NAME, runtime.c.at == found[1])
        return bool(db.execute(update(runtime).where(*unchanged).values(values)).rowcount)
