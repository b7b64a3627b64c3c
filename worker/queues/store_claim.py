"""Says in Redis whose queues these are, so that a worker with another database takes no job.

The web process writes the identity of its store, again and again; it expires with it. Without one,
a worker goes by nothing and works: the web process is away, or starts right now.
"""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import structlog
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from store.identity import StoreIdentity, read_identity, this_machine
from store.settings import Settings
from store.store import Store
from worker.queues.broker import broker_address, redis_from_url
from worker.queues.worker_registry import as_text

KEY = "apprentice:store"
CLAIM_SECONDS = 30  # until the claim of a web process that was killed expires
RENEW_SECONDS = 5.0

log = structlog.get_logger(__name__)


class ForeignQueuesError(Exception):
    """These queues belong to another Apprentice; the message says what to do."""


def claim_queues(connection: Redis, identity: StoreIdentity) -> None:
    """Claim the queues, or renew the claim.

    Raises:
        ForeignQueuesError: another database's web process has claimed them.
    """
    own = _text(identity)
    if connection.set(KEY, own, nx=True, ex=CLAIM_SECONDS):
        return
    claimed = claimed_by(connection)
    if claimed is not None and claimed != identity:
        raise ForeignQueuesError(
            "another Apprentice, with a database of its own, uses this Redis: give each its own "
            "database number at the end of APPRENTICE_REDIS_URL (redis://HOST:6379/1). "
            f"If the other one was stopped, this one takes over within {CLAIM_SECONDS} s."
        )
    connection.set(KEY, own, ex=CLAIM_SECONDS)


def claimed_by(connection: Redis) -> StoreIdentity | None:
    """The store whose web process claims the queues; None when none does."""
    value = cast(bytes | None, connection.get(KEY))
    if value is None:
        return None
    database, _, machine = as_text(value).partition(" ")
    return StoreIdentity(database, machine)


def release_queues(connection: Redis, identity: StoreIdentity) -> None:
    """Give up the claim, when the web process stops."""
    if claimed_by(connection) == identity:
        connection.delete(KEY)


class StoreCheck:
    """Whether this process works with the store of the web process that claims the queues."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity: StoreIdentity | None = None
        self._has_models = False

    def problem(self, connection: Redis) -> str | None:
        """Why this process must take no job, and what to do; None when it may."""
        claimed = claimed_by(connection)
        if claimed is None:
            return None
        if claimed != self._identity or not self._has_models:
            error = self._read()
            if error is not None:  # nobody can tell; a job will say what is wrong
                log.warning("the store can't be read", error=error)
                return None
        if claimed != self._identity:
            return self._other_database(claimed)
        if not self._has_models:
            return (
                f"the web process keeps its models elsewhere than in {self._settings.storage}: set "
                "APPRENTICE_STORAGE_URL to one folder, such as s3://BUCKET/FOLDER, on all machines"
            )
        return None

    def _read(self) -> str | None:
        """Read the store; returns why it can't be read.

        In a forked process: a worker holds no connection and no thread when it forks.
        """
        fork = multiprocessing.get_context("fork")
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=_send_identity, args=(self._settings, sender))
        process.start()
        sender.close()
        try:
            self._identity, self._has_models, error = receiver.recv()
        except EOFError:
            return "its reader was killed"
        finally:
            process.join()
            receiver.close()
        return str(error) if error else None

    @property
    def _is_sqlite(self) -> bool:
        return make_url(self._settings.database).get_backend_name() == "sqlite"

    def _other_database(self, claimed: StoreIdentity) -> str:
        shown = make_url(self._settings.database).render_as_string(hide_password=True)
        if not self._is_sqlite and not claimed.machine:
            return (
                f"the web process that uses this Redis has another database than {shown}: set "
                "APPRENTICE_DATABASE_URL to the same one on all machines"
            )
        elsewhere = bool(claimed.machine) and claimed.machine != this_machine()
        return (
            f"the web process that uses this Redis works with another database"
            f"{' on another machine' if elsewhere else ''}, this process with {shown}. SQLite "
            "serves the processes of one machine. For several, set APPRENTICE_DATABASE_URL to one "
            "PostgreSQL (postgresql+psycopg://USER@HOST/NAME) and APPRENTICE_STORAGE_URL to one "
            "folder (s3://BUCKET/FOLDER) on all of them; on one machine, use one APPRENTICE_HOME. "
            "If they have nothing to do with each other, give each its own database number at the "
            "end of APPRENTICE_REDIS_URL (redis://HOST:6379/1)"
        )


def _send_identity(settings: Settings, sender: "Connection[object, object]") -> None:
    """Send the store's identity, None without one; whether its models are here; and an error."""
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        sender.send((None, False, None))  # opening it would make an empty one
        return
    try:
        store = Store.open(settings)
        try:
            identity = read_identity(store)
            has_models = identity is not None and store.artifacts.is_marked(identity.database)
        finally:
            store.close()
    except (SQLAlchemyError, OSError) as error:
        sender.send((None, False, (str(error).splitlines() or [repr(error)])[0]))
    else:
        sender.send((identity, has_models, None))


def queues_problem(settings: Settings) -> str | None:
    """Why the settings' store mustn't use their queues; None also while nobody can tell."""
    client = redis_from_url(broker_address(settings), retries=0)
    try:
        return StoreCheck(settings).problem(client)
    except RedisError:
        return None
    finally:
        client.close()


def _text(identity: StoreIdentity) -> str:
    return f"{identity.database} {identity.machine}".rstrip()
