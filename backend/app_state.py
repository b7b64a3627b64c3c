"""The state that all requests of the web process share."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from redis import Redis
from sqlalchemy import Connection
from starlette.requests import Request

from backend.drainer import Drainer
from backend.http.answer_cache import AnswerCache
from backend.http.auth import same_secret
from backend.http.cache import LruCache, Throttle
from backend.http.prometheus import Metrics
from backend.http.request_bodies import RequestError
from backend.http.thread_pool import BoundedThreadPool
from backend.inference.client import InferenceClient
from backend.scheduler import Scheduler
from backend.views.status import SystemStatus, system_status
from backend.views.worker_monitor import WorkerMonitor
from services.suggestions.predictor import Predictor
from store.database.faults import LOCKED
from store.inbox.inbox import Inbox
from store.projects.connections import DEFAULT, StudioConnection, get_connection
from store.settings import Settings
from store.store import Store
from store.versions.versions import Version
from worker.guests.access import GuestAccess
from worker.jobs.wake_up import WakeUpListener

log = structlog.get_logger()

T = TypeVar("T")

CLOSE_SECONDS = 5.0  # for changes that were submitted
WRITE_SECONDS = 5.0  # that a request waits for the database's writer; Label Studio waits no longer
APPLY_SECONDS = 1.0  # that a request to train waits for labels that came before it
CONNECTIONS = 1_000  # kept in memory
CONNECTION_SECONDS = 5.0  # that an old secret is accepted after it was replaced
SETUP_SECONDS = 0.2  # between two reads for /setup, which one page of Label Studio calls often
REPAIR_SECONDS = 60.0  # between two repairs of a project's registration
CONFIG_SECONDS = 5.0  # between two syncs because /setup brings another label config
TRAINING_SECONDS = 3.0  # between two training requests of a project
PROJECTS = 10_000  # kept in memory for /setup
PREDICTORS = 16  # versions whose heads are kept in memory; about 0.5 MB for each 100 classes

ProjectKey = tuple[str, int, int | None]  # connection, Label Studio's id, when it was created


@dataclass(frozen=True)
class CachedProject:
    """The fields of a project that /setup needs, so that it is answered without a write."""

    id: int
    label_config: str
    version: str  # name of the served one
    gone: bool  # disconnected


@dataclass
class AppState:
    """The parts of the web process. Handlers are async; blocking calls run in its thread pools.

    Pages and our own API have a pool of their own, so that Label Studio never waits for them.
    """

    settings: Settings
    store: Store
    redis: Redis
    worker_monitor: WorkerMonitor
    scheduler: Scheduler
    inbox: Inbox
    drainer: Drainer
    wake_up: WakeUpListener
    inference: InferenceClient
    metrics: Metrics = field(default_factory=Metrics)
    guests: GuestAccess | None = None  # where the settings name guest models
    quick_pool: BoundedThreadPool = field(
        default_factory=lambda: BoundedThreadPool("web-quick", 4, waiting=500)
    )
    bulk_pool: BoundedThreadPool = field(
        default_factory=lambda: BoundedThreadPool("web-bulk", 2, waiting=50)
    )
    page_pool: BoundedThreadPool = field(
        default_factory=lambda: BoundedThreadPool("web-pages", 2, waiting=50)
    )
    project_cache: LruCache[ProjectKey, CachedProject] = field(
        default_factory=lambda: LruCache(PROJECTS)
    )
    answer_cache: AnswerCache = field(default_factory=AnswerCache)
    predictor_cache: LruCache[int, Predictor] = field(default_factory=lambda: LruCache(PREDICTORS))
    # With the time of each read (monotonic).
    connection_cache: LruCache[str, tuple[float, StudioConnection]] = field(
        default_factory=lambda: LruCache(CONNECTIONS)
    )
    setup_throttle: Throttle = field(default_factory=lambda: Throttle(SETUP_SECONDS))
    repair_throttle: Throttle = field(default_factory=lambda: Throttle(REPAIR_SECONDS))
    config_throttle: Throttle = field(default_factory=lambda: Throttle(CONFIG_SECONDS))
    training_throttle: Throttle = field(default_factory=lambda: Throttle(TRAINING_SECONDS))
    background_tasks: set["asyncio.Future[Any]"] = field(default_factory=set)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query of Label Studio's protocol in a read transaction of its own."""
        return await self.quick_pool.run(self._query, query)

    async def read_for_page(self, query: Callable[[Connection], T]) -> T:
        """Run a query of a page or of our own API in a read transaction of its own."""
        return await self.page_pool.run(self._query, query)

    def _query(self, query: Callable[[Connection], T]) -> T:
        with self.store.database.read() as db:
            return query(db)

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run the change in the writer's next transaction; return when it is committed.

        Raises:
            RequestError: 503, the database is busy; the change is dropped if it has not begun.
        """
        future = asyncio.wrap_future(self.store.database.submit(change))
        try:
            return await asyncio.wait_for(future, WRITE_SECONDS)
        except TimeoutError:
            raise RequestError(503, f"not available now: {LOCKED}", retry_after=5) from None

    async def apply_webhooks(self) -> None:
        """Wait, but not long, until all acknowledged webhooks are applied."""
        if self.inbox.depth:
            await self.quick_pool.run(self.inbox.wait_until_applied, APPLY_SECONDS)

    def submit(
        self, change: Callable[[Connection], None], then: Callable[[], None] | None = None
    ) -> None:
        """Pass the change to the writer without waiting for it; a failure is only logged.

        Args:
            then: is called when the change is committed.
        """
        future = asyncio.wrap_future(self.store.database.submit(change))
        self.background_tasks.add(future)

        def end(done: "asyncio.Future[None]") -> None:
            self.background_tasks.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                log.warning("change not stored", reason=str(error))
            elif then is not None and not done.cancelled():
                then()

        future.add_done_callback(end)

    async def read_connection(self, request: Request) -> StudioConnection:
        """Read the connection that the request's path names.

        Raises:
            RequestError: 404, there is no such connection; the message says what to do.
        """
        connection_id = connection_id_of(request)
        found = await self._find_connection(connection_id)
        if found is None:
            raise RequestError(404, f"no connection {connection_id!r}: {_advice(connection_id)}")
        return found

    async def _find_connection(self, connection_id: str) -> StudioConnection | None:
        found = await self.read(lambda db: get_connection(db, connection_id))
        if found is not None:
            self.connection_cache.put(connection_id, (time.monotonic(), found))
        return found

    async def check_secret(
        self, request: Request, secret: str | None
    ) -> tuple[StudioConnection | None, bool]:
        """The connection that the path names, None if unknown, and whether `secret` is its own.

        A new secret is accepted at once, a replaced one for CONNECTION_SECONDS more.
        """
        connection_id = connection_id_of(request)
        read_at, cached = self.connection_cache.get(connection_id) or (0.0, None)
        fresh = time.monotonic() - read_at < CONNECTION_SECONDS
        if cached is None or not fresh or not same_secret(secret, cached.secret):
            cached = await self._find_connection(connection_id)
        return cached, cached is not None and same_secret(secret, cached.secret)

    async def require_connection(self, request: Request) -> str:
        """The id of the connection that the path names, read only if it isn't in memory.

        Raises:
            RequestError: 404, there is no such connection.
        """
        connection_id = connection_id_of(request)
        if self.connection_cache.get(connection_id) is None:
            await self.read_connection(request)
        return connection_id

    def load_predictor(self, version: Version) -> Predictor:
        """The version's heads. Blocks when they are not in memory."""
        predictor = self.predictor_cache.get(version.id)
        if predictor is None:
            predictor = Predictor.load(self.store, version)
            self.predictor_cache.put(version.id, predictor)
        return predictor

    async def system_status(self) -> SystemStatus:
        """The state of everything, read from the store and the broker."""
        return await self.page_pool.run(
            lambda: system_status(self.store, self.worker_monitor.read())
        )

    async def close(self) -> None:
        """Close everything but the store."""
        if self.background_tasks:
            await asyncio.wait(self.background_tasks, timeout=CLOSE_SECONDS)
        await self.inference.close()
        await asyncio.to_thread(self.drainer.stop)
        await asyncio.to_thread(self.inbox.close)
        await asyncio.to_thread(self.wake_up.stop)
        await asyncio.to_thread(self.scheduler.stop)
        for pool in (self.quick_pool, self.bulk_pool, self.page_pool):
            await asyncio.to_thread(pool.close)
        if self.guests is not None:
            self.guests.predictions.close()
        self.redis.close()
        self.worker_monitor.close()


def connection_id_of(request: Request) -> str:
    """The id of the connection in the path `/c/ID/…`; the default one's without it."""
    return str(request.path_params.get("connection_id", DEFAULT))


def _advice(connection_id: str) -> str:
    if connection_id == DEFAULT:
        return "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY where Apprentice is started"
    return "run `apprentice connect` again and use the URL that it registers"
