"""The database: engines, migrations, and the threads that write.

SQLite has one writer at a time: one thread a process, which commits many writes together.
PostgreSQL has a few, each with a transaction of its own, which is run again when it met another's.
"""

import queue
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from store.database.locks import lock_name

GROUP = 256  # most writes that share one commit
MIGRATIONS = Path(__file__).parent / "migrations"
WRITERS = 4  # transactions of a process at a time, on PostgreSQL
# SQLSTATE of what a transaction meets when another has changed what it is about: a serialization
# failure, a deadlock, and a row that somebody else has inserted meanwhile.
CONFLICTS = frozenset({"40001", "40P01", "23505"})
CONFLICT_SECONDS = 15.0  # that a transaction is run again and again for
CONFLICT_PAUSE = 0.2  # seconds in between, at most and at random
BUSY_SECONDS = 30.0  # how long a writer waits for other processes' commits
IDLE_SECONDS = 60.0  # that a transaction may do nothing: its process was cut off
BUSY_POLL_SECONDS = 0.002  # SQLite's own waits grow to 100 ms: too long for a webhook

T = TypeVar("T")
Write = Callable[[Connection], Any]


def make_engine(
    url: str, *, synchronous: str = "FULL", write: bool = False, size: int = 8
) -> Engine:
    """An engine for `url`; on SQLite with WAL, and transactions that begin as we say.

    Args:
        synchronous: SQLite's PRAGMA; FULL survives a power cut, NORMAL may lose the last commits.
        write: take SQLite's write lock at BEGIN, so that a transaction never fails half-way. On
            PostgreSQL, see what others commit meanwhile; without it, all that is read is of one
            moment, as on SQLite.
        size: most connections at a time.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return _server_engine(url, write=write, size=size)
    if path := make_url(url).database:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=size, connect_args={"check_same_thread": False}
    )
    begin = _begin_immediate if write else _begin

    @event.listens_for(engine, "connect")
    def _configure(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None  # we say BEGIN ourselves
        for pragma in (
            f"busy_timeout={int(BUSY_SECONDS * 1000)}",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
        ):
            dbapi.execute(f"PRAGMA {pragma}")
        if write:
            dbapi.execute("PRAGMA busy_timeout=0")  # we ask again ourselves

    event.listen(engine, "begin", begin)
    return engine


def _server_engine(url: str, *, write: bool, size: int) -> Engine:
    level = "READ COMMITTED" if write else "REPEATABLE READ"
    engine = create_engine(url, pool_size=size, pool_pre_ping=True, isolation_level=level)
    if write:

        @event.listens_for(engine, "connect")
        def _configure(dbapi: Any, _record: Any) -> None:
            """Nobody waits for good for a process that was cut off within a transaction."""
            with dbapi.cursor() as cursor:
                cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS:.0f}s'")
                cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS:.0f}s'")
            dbapi.commit()

    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock, asking often: who asks seldom waits long behind busy writers."""
    deadline = time.monotonic() + BUSY_SECONDS
    dbapi: Any = connection.connection.dbapi_connection
    while True:
        try:
            dbapi.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_POLL_SECONDS)
        else:
            return


def _apart(connection: Connection, group: Sized) -> AbstractContextManager[Any]:
    """Run a write in a savepoint, so that a failed one leaves no trace."""
    return connection.begin_nested() if len(group) > 1 else nullcontext()


def _met_another(error: Exception) -> bool:
    """Whether a transaction failed because of another one, and may succeed when run again."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in CONFLICTS


@dataclass(frozen=True)
class _Failure:
    """The error of one write."""

    error: Exception


class Database:
    """Reads from any thread; writes through threads of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._reader = make_engine(url)
        self._writers, self._group = (1, GROUP) if self.is_sqlite else (WRITERS, 1)
        self._writer = make_engine(url, write=True, size=self._writers)
        self._writes: queue.SimpleQueue[tuple[Write, Future[Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file, of one machine."""
        return self._reader.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a read transaction: everything it reads is of one moment."""
        with self._reader.connect() as connection, connection.begin():
            yield connection

    def submit(self, write: Callable[[Connection], T]) -> Future[T]:
        """Hand `write` to a writer thread; the future is done when it is committed.

        If `write` raises, its future fails, nothing of it stays, and the other writes of the same
        commit do. It must not wait for anything, and it may be run more than once: on PostgreSQL
        again when it met another transaction (see `locks`).
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the database is closed")
            while len(self._threads) < self._writers:
                thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._writes.put((write, future))
        return future

    def write(self, write: Callable[[Connection], T]) -> T:
        """Run `write` in a writer thread and wait for the commit."""
        return self.submit(write).result()

    def migrate(self) -> None:
        """Bring the schema up to date. Safe to call at every start."""
        if self.is_current():
            return
        self.upgrade("head")

    def upgrade(self, revision: str) -> None:
        """Apply all migrations up to a revision."""
        # Every process opens the database; only one in a long while migrates it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._writer.connect() as connection:
            lock_name(connection, "migration")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()

    def erase_old_pages(self) -> None:
        """Rewrite an SQLite file, if there is room, so that nothing deleted stays in it."""
        with self._writer.connect() as connection, suppress(sqlite3.Error):
            dbapi: Any = connection.connection.dbapi_connection
            dbapi.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
            dbapi.execute("VACUUM")
            dbapi.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            dbapi.execute("PRAGMA busy_timeout=0")

    def is_current(self) -> bool:
        """Whether the newest migration was applied. Their files are named `NUMBER_what.py`."""
        newest = max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
        with self.read() as db:
            if not inspect(db).has_table("alembic_version"):
                return False
            applied = db.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return applied == newest.partition("_")[0]

    def close(self) -> None:
        """Commit all submitted writes and close the database."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._writes.put(None)
        for thread in self._threads:
            thread.join()
        self._reader.dispose()
        self._writer.dispose()

    def _run(self) -> None:
        while True:
            first = self._writes.get()
            if first is None:
                return
            group = [first]
            stop = False
            while len(group) < self._group and not self._writes.empty():
                following = self._writes.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._commit(group)
            if stop:
                return

    def _commit(self, group: "list[tuple[Write, Future[Any]]]") -> None:
        # Whoever gave up waiting isn't acknowledged.
        group = [each for each in group if each[1].set_running_or_notify_cancel()]
        results: Sequence[Any] = []
        deadline = time.monotonic() + CONFLICT_SECONDS
        while True:
            try:
                results = self._transact([write for write, _ in group])
            except Exception as error:  # nothing of the group was committed
                results = [_Failure(error)] * len(group)
                if not _met_another(error) or time.monotonic() > deadline:
                    break
                time.sleep(random.uniform(0.0, CONFLICT_PAUSE))  # noqa: S311
            else:
                break
        for (_, future), result in zip(group, results, strict=True):
            if isinstance(result, _Failure):
                future.set_exception(result.error)
            else:
                future.set_result(result)

    def _transact(self, writes: Sequence[Write]) -> list[Any]:
        """Run writes in one transaction; their results, or failures of theirs alone."""
        results: list[Any] = []
        with self._writer.connect() as connection, connection.begin():
            for write in writes:
                try:
                    with _apart(connection, writes):
                        results.append(write(connection))
                except Exception as error:  # it belongs to the one who submitted it
                    if len(writes) == 1:
                        raise
                    results.append(_Failure(error))
        return results
