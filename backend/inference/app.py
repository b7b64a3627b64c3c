"""The inference process: embeds images on request, behind a unix socket."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import numpy as np
import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from backend import logs
from backend.inference.client import Embedded, Failed, Wanted
from backend.inference.embedding_service import OverloadedError
from backend.inference.service_pool import EmbeddingServices
from backend.inference.socket_path import socket_path
from services.embedding.backbones import BackboneError
from store.settings import Settings
from store.store import Store
from worker.supervision.unix_socket import lock_socket

log = structlog.get_logger()

KEEP_ALIVE = 75  # seconds; longer than the client keeps a connection that it doesn't use
MOST_ITEMS = 256  # images in one request


class Item(BaseModel):
    """An image, by its URI and the task that shows it."""

    task: int
    uri: Annotated[str, Field(min_length=1)]


class EmbedRequest(BaseModel):
    """A request to embed images within `seconds`.

    Without a backbone, the default one embeds them.
    """

    connection: str
    items: Annotated[list[Item], Field(max_length=MOST_ITEMS)]
    seconds: Annotated[float, Field(gt=0, le=120)]
    backbone: Annotated[str, Field(min_length=1, max_length=500)] | None = None


def create_inference_app(settings: Settings) -> FastAPI:
    """Create the application. It opens the default backbone when it starts (some seconds)."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await asyncio.to_thread(Store.open, settings, migrate=True)
        try:
            services = EmbeddingServices(store)
            try:
                app.state.services = services
                app.state.space = (await services.start()).space
                log.info("inference ready", space=app.state.space)
                yield
            finally:
                await services.close()
        finally:
            await asyncio.to_thread(store.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        services: EmbeddingServices = app.state.services
        return {
            "status": "UP",
            "space": app.state.space,
            "spaces": services.spaces,
            "pending": services.pending,
        }

    @app.post("/embed")
    async def embed(request: EmbedRequest) -> JSONResponse:
        wanted = [Wanted(item.task, item.uri) for item in request.items]
        try:
            return JSONResponse(await _embed(app.state.services, request, wanted))
        except OverloadedError:
            return JSONResponse(
                {"error": "too many images are waiting"}, 503, headers={"Retry-After": "1"}
            )

    return app


async def _embed(
    services: EmbeddingServices, request: EmbedRequest, wanted: list[Wanted]
) -> dict[str, Any]:
    """The response's body. A backbone that isn't open is a transient error of every image."""
    deadline = time.monotonic() + request.seconds
    try:
        service = await services.get(request.backbone, request.seconds)
    except (BackboneError, TimeoutError) as error:
        reason = str(error) or "the backbone is being opened"
        return {"space": None, "items": [_as_json(Failed(reason, False)) for _ in wanted]}
    left = max(deadline - time.monotonic(), 0.0)
    outcomes = await service.embed(request.connection, wanted, left)
    return {"space": service.space, "items": [_as_json(outcome) for outcome in outcomes]}


def _as_json(outcome: Embedded | Failed) -> dict[str, Any]:
    if isinstance(outcome, Failed):
        return {"error": outcome.reason, "permanent": outcome.permanent}
    vector = np.ascontiguousarray(outcome.vector, "<f2").tobytes()
    return {"key": outcome.key, "vector": base64.b64encode(vector).decode()}


def main(settings: Settings | None = None) -> None:
    """Run the inference process until SIGTERM or Ctrl-C."""
    settings = settings or Settings()
    logs.configure(settings.log_level)
    socket = socket_path(settings)
    with lock_socket(socket, "inference process"):
        uvicorn.run(
            create_inference_app(settings),
            uds=str(socket),
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=5,
        )


if __name__ == "__main__":
    main()
