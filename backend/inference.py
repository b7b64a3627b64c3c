"""The inference process: one warm backbone behind a unix socket, for images never seen before."""

import asyncio
import base64
import contextlib
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, Field

from backend import logs
from backend.embedding_service import EmbeddingService, OverloadedError
from backend.inference_client import Embedded, Failed, Wanted
from backend.sockets import socket_path
from model.embedding import Embedder, open_embedder
from store.runtime import tell, told
from store.settings import Settings
from store.store import Store
from worker.valkey import private_folder

log = structlog.get_logger()

EXIT_IN_USE = 3
KEEP_ALIVE = 75  # seconds; longer than the client keeps a connection that it doesn't use
MOST_ITEMS = 256  # images in one request


class Item(BaseModel):
    """An image: its URI in the data of the task `task`."""

    task: int
    uri: Annotated[str, Field(min_length=1)]


class EmbedRequest(BaseModel):
    """What is asked for, of which connection, and for how long the caller waits."""

    connection: str
    items: Annotated[list[Item], Field(max_length=MOST_ITEMS)]
    seconds: Annotated[float, Field(gt=0, le=120)]


def create_inference_app(settings: Settings) -> FastAPI:
    """The application. It opens the backbone when it starts, which may take some seconds."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await asyncio.to_thread(Store.open, settings, migrate=True)
        try:
            embedder = await asyncio.to_thread(_open_embedder, store)
            service = EmbeddingService(embedder, store)
            service.start()
            app.state.service = service
            log.info("inference ready", space=service.space)
            try:
                yield
            finally:
                await service.close()
        finally:
            await asyncio.to_thread(store.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        service: EmbeddingService = app.state.service
        return {"status": "UP", "space": service.space, "pending": service.pending}

    @app.post("/embed")
    async def embed(asked: EmbedRequest) -> JSONResponse:
        service: EmbeddingService = app.state.service
        wanted = [Wanted(item.task, item.uri) for item in asked.items]
        try:
            outcomes = await service.embed(asked.connection, wanted, asked.seconds)
        except OverloadedError:
            return JSONResponse(
                {"error": "too many images are waiting"}, 503, headers={"Retry-After": "1"}
            )
        return JSONResponse(
            {"space": service.space, "items": [_as_json(outcome) for outcome in outcomes]}
        )

    return app


def _open_embedder(store: Store) -> Embedder:
    """The embedder, warm: the first real image mustn't pay for what is set up at first use."""
    settings = store.settings
    embedder = open_embedder(
        settings.backbone,
        device=settings.device,
        precision=settings.precision,
        cache_dir=settings.home / "backbones",
    )
    embedder.embed([embedder.prepare(Image.new("RGB", (640, 480)))])
    with store.database.read() as db:
        known = told(db, "embedding_space")
    if known != embedder.key:
        store.database.write(lambda db: tell(db, "embedding_space", embedder.key))
    return embedder


def _as_json(outcome: Embedded | Failed) -> dict[str, Any]:
    if isinstance(outcome, Failed):
        return {"error": outcome.reason, "permanent": outcome.permanent}
    vector = np.ascontiguousarray(outcome.vector, "<f2").tobytes()
    return {"key": outcome.key, "vector": base64.b64encode(vector).decode()}


@contextlib.contextmanager
def _sole(socket: Path) -> Iterator[None]:
    """Hold the socket's lock; what a killed predecessor left is removed."""
    private_folder(socket.parent)
    lock = os.open(socket.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another inference process runs already", socket=str(socket))  # noqa: TRY400
            sys.exit(EXIT_IN_USE)
        socket.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)


def main(settings: Settings | None = None) -> None:
    """Run the inference process until it is told to stop."""
    settings = settings or Settings()
    logs.configure(settings.log_level)
    socket = socket_path(settings)
    with _sole(socket):
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
