"""The web process: Label Studio's protocol, the JSON API, the pages and the metrics."""

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI

from backend.api import advice, metrics, projects, renames, results, training
from backend.app_state import AppState
from backend.drainer import Drainer
from backend.http.auth import BasicAuth, Credentials, check_binding
from backend.http.body_limit import LimitedBodies
from backend.http.browser_guard import AllowedHosts, BrowserGuard
from backend.http.error_responses import CaughtExceptions, add_error_handlers
from backend.http.prometheus import MeasuredRequests, Metrics
from backend.http.response_headers import SafeHeaders
from backend.http.server import run_server
from backend.inference.client import InferenceClient
from backend.inference.socket_path import socket_path
from backend.pages import routes as pages
from backend.poller import ChangePoller
from backend.protocol import routes as protocol
from backend.scheduler import Scheduler
from backend.views.worker_monitor import WorkerMonitor
from services.guests.state import REPORT
from store.inbox.inbox import Inbox, require_own_home
from store.projects.connections import ensure_default
from store.projects.key_values import WEB_STARTED
from store.settings import Settings
from store.store import Store
from studio.config import parse_label_config
from worker.guests.access import GuestAccess
from worker.jobs.wake_up import WakeUpListener
from worker.queues.broker import broker_address, redis_from_url

SWITCH_INTERVAL = 0.001  # seconds; a large request in a thread mustn't hold up the event loop


def create_app(settings: Settings) -> FastAPI:
    """Create the application. When it starts, it opens the store and upgrades the schema."""
    process_metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await asyncio.to_thread(Store.open, settings, migrate=True)
        try:
            app_state = await asyncio.to_thread(_open_state, settings, store, process_metrics)
            app.state.app_state = app_state
            app_state.drainer.start()
            app_state.scheduler.start()
            poller = ChangePoller(store, app_state.scheduler)
            poller.start()
            app_state.wake_up.start()
            try:
                yield
            finally:
                await asyncio.to_thread(poller.stop)
                await app_state.close()
        finally:
            await asyncio.to_thread(store.close)

    app = FastAPI(
        title="Apprentice",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,
    )
    app.include_router(pages.router)
    app.include_router(projects.router)
    app.include_router(training.router)
    app.include_router(advice.router)
    app.include_router(results.router)
    app.include_router(renames.router)
    app.include_router(metrics.router)
    app.include_router(protocol.router)
    app.include_router(protocol.router, prefix="/c/{connection_id}", include_in_schema=False)
    add_error_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(LimitedBodies)
    app.add_middleware(BrowserGuard, hosts=AllowedHosts.of(settings))
    app.add_middleware(BasicAuth, credentials=Credentials.of(settings))
    app.add_middleware(CaughtExceptions)
    app.add_middleware(MeasuredRequests, metrics=process_metrics)
    app.add_middleware(SafeHeaders)
    return app


def _open_state(settings: Settings, store: Store, process_metrics: Metrics) -> AppState:
    store.database.write(lambda db: ensure_default(db, settings))
    store.database.write(lambda db: WEB_STARTED.set(db, time.time()))
    if not settings.guests:
        store.database.write(REPORT.delete)  # of a start that had some
    parse_label_config("<View/>")  # imports what the first webhook would have to wait for
    url = broker_address(settings)
    redis = redis_from_url(url)
    scheduler = Scheduler(store, redis)
    inbox = Inbox(settings.home, process_metrics.inbox_syncs.observe)
    drainer = Drainer(store, inbox, process_metrics, scheduler.wake)
    process_metrics.inbox_depth.set_function(lambda: inbox.depth)
    process_metrics.inbox_age.set_function(lambda: drainer.age)
    return AppState(
        settings=settings,
        store=store,
        redis=redis,
        worker_monitor=WorkerMonitor(settings),
        scheduler=scheduler,
        wake_up=WakeUpListener(redis_from_url(url, retries=0), scheduler.wake),
        inbox=inbox,
        drainer=drainer,
        inference=InferenceClient(socket_path(settings)),
        metrics=process_metrics,
        guests=GuestAccess.open(settings),
    )


def serve(settings: Settings) -> None:
    """Run the web process until SIGTERM or Ctrl-C.

    Raises:
        OpenBindingError: other machines could reach it without a password.
        LogInUseError: another process serves from this home.
    """
    check_binding(settings)
    require_own_home(settings.home)
    sys.setswitchinterval(SWITCH_INTERVAL)
    app = create_app(settings)
    gc.freeze()  # what is imported stays: each collection would look through all of it
    run_server(app, settings)
