"""The web process: Label Studio's protocol, the JSON API, the pages and the metrics."""

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import AsyncIterator

import structlog
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException

from backend.api import advice, metrics, projects, results, training
from backend.app_state import AppState
from backend.http.auth import BasicAuth, Credentials, check_binding
from backend.http.prometheus import MeasuredRequests, Metrics
from backend.http.request_bodies import RequestError
from backend.http.thread_pool import BusyError
from backend.inference.client import InferenceClient
from backend.inference.socket_path import socket_path
from backend.pages import routes as pages
from backend.protocol import routes as protocol
from backend.scheduler import Scheduler
from store.files.artifacts import ArtifactError
from store.projects.connections import ensure_default
from store.projects.key_values import WEB_STARTED
from store.settings import Settings
from store.store import Store
from studio.config import parse_label_config
from worker.queues.broker import broker_url, redis_from_url

log = structlog.get_logger()

RETRY_AFTER = 5  # seconds
SWITCH_INTERVAL = 0.001  # seconds; a large request in a thread mustn't hold up the event loop
KEEP_ALIVE = 75  # seconds; a connection that we close just as it is used again loses a request


def create_app(settings: Settings) -> FastAPI:
    """Create the application. When it starts, it opens the store and upgrades the schema."""
    process_metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await asyncio.to_thread(Store.open, settings, migrate=True)
        try:
            app_state = await asyncio.to_thread(_open_state, settings, store, process_metrics)
            app.state.app_state = app_state
            app_state.scheduler.start()
            try:
                yield
            finally:
                await app_state.close()
        finally:
            await asyncio.to_thread(store.close)

    app = FastAPI(
        title="Apprentice",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.include_router(pages.router)
    app.include_router(projects.router)
    app.include_router(training.router)
    app.include_router(advice.router)
    app.include_router(results.router)
    app.include_router(metrics.router)
    app.include_router(protocol.router)
    app.include_router(protocol.router, prefix="/c/{connection_id}", include_in_schema=False)
    _add_error_handlers(app)
    app.add_middleware(BasicAuth, credentials=Credentials.of(settings))
    app.add_middleware(MeasuredRequests, metrics=process_metrics)
    return app


def _open_state(settings: Settings, store: Store, process_metrics: Metrics) -> AppState:
    store.database.write(lambda db: ensure_default(db, settings))
    store.database.write(lambda db: WEB_STARTED.set(db, time.time()))
    parse_label_config("<View/>")  # imports what the first webhook would have to wait for
    url = settings.redis_url or broker_url(settings.home)
    redis = redis_from_url(url)
    return AppState(
        settings=settings,
        store=store,
        redis=redis,
        redis_no_retry=redis_from_url(url, retries=0),
        scheduler=Scheduler(store, redis),
        inference=InferenceClient(socket_path(settings)),
        metrics=process_metrics,
    )


def _add_error_handlers(app: FastAPI) -> None:
    """Answer each error with a JSON object `error`; a transient one is a 503 with Retry-After."""

    @app.exception_handler(RequestError)
    async def _refused(_request: Request, error: RequestError) -> JSONResponse:
        return _error(error.status, str(error), error.retry_after)

    @app.exception_handler(StarletteHTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["loc"] == ("body",) and first["type"] != "missing":
            return _error(
                400, "the body must be a JSON object, with Content-Type: application/json"
            )
        return _error(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    async def _unavailable(request: Request, error: Exception) -> JSONResponse:
        log.error("store or broker unavailable", path=request.url.path, reason=str(error))
        return _error(503, f"not available now: {type(error).__name__}", RETRY_AFTER)

    for kind in (SQLAlchemyError, ArtifactError, OSError):
        app.add_exception_handler(kind, _unavailable)

    @app.exception_handler(BusyError)
    async def _busy(_request: Request, error: BusyError) -> JSONResponse:
        return _error(503, str(error), RETRY_AFTER)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", path=request.url.path, exc_info=error)
        return _error(500, "this is a fault in Apprentice; its log says more")


def _error(status: int, message: str, retry_after: int | None = None) -> JSONResponse:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return JSONResponse({"error": message}, status_code=status, headers=headers)


def serve(settings: Settings) -> None:
    """Run the web process until SIGTERM or Ctrl-C.

    Raises:
        OpenBindingError: other machines could reach it without a password.
    """
    check_binding(settings)
    sys.setswitchinterval(SWITCH_INTERVAL)
    app = create_app(settings)
    gc.freeze()  # what is imported stays: each collection would look through all of it
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=5,
    )
