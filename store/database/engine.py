"""The database: engines, migrations, and one group-committing writer thread a process."""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.pool import QueuePool

GROUP = 256  # most writes that share one commit
MIGRATIONS = Path(__file__).parent / "migrations"
WRITERS = 0x4150  # PostgreSQL's advisory lock that stands for writing
BUSY_SECONDS = 30.0  # how long a writer waits for other processes' commits
BUSY_POLL_SECONDS = 0.002  # SQLite's own waits grow to 100 ms: too long for a webhook

T = TypeVar("T")
Write = Callable[[Connection], Any]


def make_engine(
    url: str, *, synchronous: str = "FULL", write: bool = False, size: int = 8
) -> Engine:
    """An engine for `url`; on SQLite with WAL, and transactions that begin as we say.

    Args:
        synchronous: SQLite's PRAGMA; FULL survives a power cut, NORMAL may lose the last commits.
        write: take SQLite's write lock at BEGIN, so that a transaction never fails half-way.
        size: most connections at a time.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_size=size, pool_pre_ping=True)
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


def _one_writer(connection: Connection) -> None:
    """Lock out other writers, so that a transaction that reads and then writes is alone."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")


class Database:
    """Reads from any thread; writes through one thread that commits many of them at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._reader = make_engine(url)
        self._writer = make_engine(url, write=True, size=1)
        if self._writer.dialect.name == "postgresql":
            event.listen(self._writer, "begin", _one_writer)
        self._writes: queue.SimpleQueue[tuple[Write, Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
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
        """Hand `write` to the writer thread; the future is done when it is committed.

        If `write` raises, its future fails, nothing of it stays, and the other writes of the same
        commit do. It must not wait for anything.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the database is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._writes.put((write, future))
        return future

    def write(self, write: Callable[[Connection], T]) -> T:
        """Run `write` in the writer thread and wait for the commit."""
        return self.submit(write).result()

    def migrate(self) -> None:
        """Bring the schema up to date. Safe to call at every start."""
        if self.is_current():
            return
        # Every process opens the database; only one in a long while migrates it.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._writer.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()

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
            thread = self._thread
            self._writes.put(None)
        if thread is not None:
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
            while len(group) < GROUP and not self._writes.empty():
                following = self._writes.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._commit(group)
            if stop:
                return

    def _commit(self, group: list[tuple[Write, Future[Any]]]) -> None:
        results: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            with self._writer.connect() as connection, connection.begin():
                for write, future in group:
                    if not future.set_running_or_notify_cancel():
                        continue  # its caller has gone, unacknowledged
                    try:
                        with _apart(connection, group):
                            results.append((future, write(connection), None))
                    except Exception as error:  # it belongs to the one who submitted it
                        if len(group) == 1:
                            raise
                        results.append((future, None, error))
        except Exception as error:  # nothing of the group was committed
            results = [(future, None, error) for _, future in group if not future.cancelled()]
        for future, value, failure in results:
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)
