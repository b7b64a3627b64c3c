"""What every request of the web process has at hand."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import structlog
from redis import Redis
from sqlalchemy import Connection
from starlette.requests import Request

from backend.http.auth import same_secret
from backend.http.cache import Recent, Throttle
from backend.http.prometheus import Metrics
from backend.http.request_bodies import RequestError
from backend.http.thread_pool import Pool
from backend.inference.client import InferenceClient
from backend.scheduler import Sweeper
from services.suggestions.predictor import Predictor
from store.projects.connections import DEFAULT, StudioConnection, get_connection
from store.projects.projects import Project, get_project
from store.settings import Settings
from store.store import Store
from store.versions.versions import Version

log = structlog.get_logger()

T = TypeVar("T")

CLOSE_SECONDS = 5.0  # for what was submitted
CONNECTIONS = 1_000  # remembered, with when they were read
CONNECTION_SECONDS = 5.0
LOOK_SECONDS = 0.2  # between two looks of /setup: one page of Label Studio asks several times
PROJECTS = 10_000  # remembered for /setup
PREDICTORS = 16  # versions whose heads are kept in memory; about 0.5 MB for each 100 classes


@dataclass(frozen=True)
class KnownProject:
    """What memory holds of a project, so that /setup is answered without a write."""

    id: int
    label_config: str
    version: str  # name of what is served
    gone: bool  # disconnected


@dataclass
class Web:
    """The web process's parts. Handlers are async; all that blocks goes through here."""

    settings: Settings
    store: Store
    redis: Redis
    redis_at_once: Redis  # fails at once instead of sitting out an absence: for what people see
    sweeper: Sweeper
    inference: InferenceClient
    metrics: Metrics = field(default_factory=Metrics)
    quick: Pool = field(default_factory=lambda: Pool("web-quick", 4, waiting=500))
    bulk: Pool = field(default_factory=lambda: Pool("web-bulk", 2, waiting=50))
    projects: Recent[tuple[str, int, int | None], KnownProject] = field(
        default_factory=lambda: Recent(PROJECTS)
    )
    predictors: Recent[int, Predictor] = field(default_factory=lambda: Recent(PREDICTORS))
    looks: Throttle = field(default_factory=lambda: Throttle(LOOK_SECONDS))  # of /setup
    repairs: Throttle = field(default_factory=lambda: Throttle(60))
    trainings: Throttle = field(default_factory=lambda: Throttle(3))
    background: set["asyncio.Future[Any]"] = field(default_factory=set)
    connections: Recent[str, tuple[float, StudioConnection]] = field(
        default_factory=lambda: Recent(CONNECTIONS)
    )

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run the query in a read transaction of its own."""

        def read() -> T:
            with self.store.database.read() as db:
                return query(db)

        return await self.quick.run(read)

    async def write(self, change: Callable[[Connection], T]) -> T:
        """Run the change in the writer's next transaction; done when it is committed."""
        return await asyncio.wrap_future(self.store.database.submit(change))

    def submit(self, change: Callable[[Connection], None]) -> None:
        """Hand a change to the writer without waiting for it; a failure is only logged."""
        future = asyncio.wrap_future(self.store.database.submit(change))
        self.background.add(future)

        def end(done: "asyncio.Future[None]") -> None:
            self.background.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                log.warning("change not stored", reason=str(error))

        future.add_done_callback(end)

    async def connection(self, request: Request) -> StudioConnection:
        """The Label Studio that the request's path names.

        Raises:
            RequestError: 404, with what to do.
        """
        connection_id = connection_id_of(request)
        found = await self.read(lambda db: get_connection(db, connection_id))
        if found is None:
            raise RequestError(404, f"no connection {connection_id!r}: {_advice(connection_id)}")
        self.connections.put(connection_id, (time.monotonic(), found))
        return found

    async def trusted(self, request: Request, secret: str | None) -> tuple[StudioConnection, bool]:
        """The connection, and whether `secret` is its own. A new secret holds at once, an old one
        for CONNECTION_SECONDS more.

        Raises:
            RequestError: as `connection`.
        """
        seen, known = self.connections.get(connection_id_of(request)) or (0.0, None)
        fresh = known is not None and time.monotonic() - seen < CONNECTION_SECONDS
        if known is None or not fresh or not same_secret(secret, known.secret):
            known = await self.connection(request)
        return known, same_secret(secret, known.secret)

    async def require_connection(self, request: Request) -> str:
        """The connection's id, from memory where it was seen before; else as `connection`."""
        connection_id = connection_id_of(request)
        if self.connections.get(connection_id) is None:
            await self.connection(request)
        return connection_id

    def predictor(self, version: Version) -> Predictor:
        """The version's heads. Blocks when they are not in memory."""
        known = self.predictors.get(version.id)
        if known is None:
            known = Predictor.load(self.store, version)
            self.predictors.put(version.id, known)
        return known

    async def close(self) -> None:
        """Let go of everything but the store."""
        if self.background:
            await asyncio.wait(self.background, timeout=CLOSE_SECONDS)
        await self.inference.close()
        await asyncio.to_thread(self.sweeper.stop)
        for pool in (self.quick, self.bulk):
            await asyncio.to_thread(pool.close)
        self.redis.close()
        self.redis_at_once.close()


def connection_id_of(request: Request) -> str:
    """The connection in the path `/c/ID/…`; the default one without it."""
    return str(request.path_params.get("connection_id", DEFAULT))


def _advice(connection_id: str) -> str:
    if connection_id == DEFAULT:
        return "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY where Apprentice is started"
    return "run `apprentice connect` again and use the URL that it registers"


def web_of(request: Request) -> Web:
    """The application's `Web`."""
    return cast(Web, request.app.state.web)


async def project_or_404(request: Request, project_id: int) -> tuple[Web, Project]:
    """The web process and the project by our own id. RequestError 404: there is none."""
    web = web_of(request)
    found: Project | None = None
    if 0 < project_id < 2**31:
        found = await web.read(lambda db: get_project(db, project_id))
    if found is None:
        raise RequestError(404, f"no project {project_id}; /api/v1/projects lists them")
    return web, found
