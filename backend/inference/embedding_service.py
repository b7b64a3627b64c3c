"""Embeds images on request: a few threads load them, one embeds them in micro-batches.

Requests are bounded and have a deadline; an image in several requests is computed once. Small
requests go first: an annotator is waiting for that task to open.
"""

import asyncio
import hashlib
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.http.cache import LruCache
from backend.inference.client import Embedded, Failed, Wanted
from model.arrays import Float16s
from model.embedding import Embedder
from services.connections.clients import UnknownConnectionError, image_loader
from store.projects.connections import StudioConnection, get_connection
from store.store import Store
from studio.images.loader import (
    HostPlaces,
    ImageLoader,
    PassingImageError,
    PermanentImageError,
    decode,
)

log = structlog.get_logger()

PENDING = 256  # images accepted and not finished; more are refused
SMALL = 8  # a request for no more images than this goes before larger ones
LOADERS = 8  # threads: loading mostly waits for Label Studio

Outcome = Embedded | Failed
Key = tuple[str, str, int]  # connection, URI, task: some URIs are resolved through their task


class OverloadedError(Exception):
    """More images are waiting than are accepted."""


@dataclass
class _QueuedImage:
    """An image in the queue, with the latest `deadline` of its requests (monotonic)."""

    key: Key
    deadline: float
    done: "asyncio.Future[Outcome]"


@dataclass
class _Batch:
    """Preprocessed images that wait for inference."""

    pixels: list[npt.NDArray[Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    futures: list["asyncio.Future[Outcome]"] = field(default_factory=list)


class EmbeddingService:
    """One warm embedder, shared by all requests; it belongs to one event loop."""

    def __init__(self, embedder: Embedder, store: Store, *, pending: int = PENDING) -> None:
        self.space = embedder.key
        self._embedder = embedder
        self._store = store
        self._limit = pending
        self._images: dict[Key, _QueuedImage] = {}
        self._computing: dict[str, asyncio.Future[Outcome]] = {}
        self._order = itertools.count()
        self._queue: asyncio.PriorityQueue[tuple[bool, int, _QueuedImage]] = asyncio.PriorityQueue()
        self._ready = asyncio.Event()
        self._waiting = _Batch()
        self._loaders: LruCache[str, tuple[StudioConnection | None, ImageLoader]] = LruCache(16)
        self._places = HostPlaces(LOADERS)
        self._load_threads = ThreadPoolExecutor(LOADERS, "load")
        self._embed_thread = ThreadPoolExecutor(1, "embed")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pending(self) -> int:
        """Images accepted and not finished."""
        return len(self._images)

    def start(self) -> None:
        """Start the tasks that load and embed."""
        self._tasks = [asyncio.create_task(self._load_all()) for _ in range(LOADERS)]
        self._tasks.append(asyncio.create_task(self._embed_all()))

    async def close(self) -> None:
        """Stop; waiting requests get no answer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for threads in (self._load_threads, self._embed_thread):
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)
        self._embedder.close()

    async def embed(
        self, connection_id: str, wanted: Sequence[Wanted], seconds: float
    ) -> list[Outcome]:
        """One outcome for each image, in order, after at most `seconds`.

        Raises:
            OverloadedError: too many images are waiting.
        """
        if not wanted:
            return []
        keys = [(connection_id, item.uri, item.task) for item in wanted]
        fresh = {key for key in keys if key not in self._images}
        if self.pending + len(fresh) > self._limit:
            raise OverloadedError
        deadline = time.monotonic() + seconds
        futures = [self._accept(key, deadline, large=len(wanted) > SMALL) for key in keys]
        await asyncio.wait(futures, timeout=seconds)
        return [
            future.result() if future.done() else Failed("not ready in time", permanent=False)
            for future in futures
        ]

    def _accept(self, key: Key, deadline: float, *, large: bool) -> "asyncio.Future[Outcome]":
        known = self._images.get(key)
        if known is not None:
            known.deadline = max(known.deadline, deadline)
            return known.done
        image = _QueuedImage(key, deadline, asyncio.get_running_loop().create_future())
        self._images[key] = image
        self._queue.put_nowait((large, next(self._order), image))
        return image.done

    async def _load_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            _, _, image = await self._queue.get()
            if image.deadline < time.monotonic():
                self._finish(image, Failed("not ready in time", permanent=False))
                continue
            try:
                key, found = await loop.run_in_executor(self._load_threads, self._load, *image.key)
            except (PermanentImageError, PassingImageError) as error:
                permanent = isinstance(error, PermanentImageError)
                self._finish(image, Failed(str(error), permanent))
            except UnknownConnectionError as error:
                self._finish(image, Failed(str(error), permanent=False))
            except Exception as error:
                log.exception("image not loaded", task=image.key[2])
                self._finish(image, Failed(f"{type(error).__name__}: {error}", permanent=False))
            else:
                self._hand_over(image, key, found)

    def _load(
        self, connection_id: str, uri: str, task: int
    ) -> tuple[str, Embedded | npt.NDArray[Any]]:
        """The image's key, with its stored embedding or else its preprocessed pixels."""
        loader = self._loader(connection_id)
        data = loader.fetch(uri, task)
        key = hashlib.sha256(data).hexdigest()
        known = self._store.embeddings.get(self.space, [key])
        if key in known:
            return key, Embedded(self.space, key, known[key])
        return key, self._embedder.prepare(decode(data, loader.policy))

    def _loader(self, connection_id: str) -> ImageLoader:
        with self._store.database.read() as db:
            connection = get_connection(db, connection_id)
        known = self._loaders.get(connection_id)
        if known is not None and known[0] == connection:  # neither URL nor token was changed
            return known[1]
        loader = image_loader(self._store, connection_id, self._places)
        self._loaders.put(connection_id, (connection, loader))
        return loader

    def _hand_over(self, image: _QueuedImage, key: str, found: Embedded | npt.NDArray[Any]) -> None:
        if isinstance(found, Embedded):
            self._finish(image, found)
            return
        computing = self._computing.get(key)
        if computing is None:
            computing = asyncio.get_running_loop().create_future()
            self._computing[key] = computing
            self._waiting.pixels.append(found)
            self._waiting.keys.append(key)
            self._waiting.futures.append(computing)
            self._ready.set()
        computing.add_done_callback(lambda done: self._finish(image, done.result()))

    def _finish(self, image: _QueuedImage, outcome: Outcome) -> None:
        self._images.pop(image.key, None)
        if not image.done.done():
            image.done.set_result(outcome)

    async def _embed_all(self) -> None:
        """Embed the images that arrived during the last batch, without waiting for a full one."""
        loop = asyncio.get_running_loop()
        while True:
            await self._ready.wait()
            batch = self._take()
            outcomes = await loop.run_in_executor(self._embed_thread, self._embed, batch)
            for key, future, outcome in zip(batch.keys, batch.futures, outcomes, strict=True):
                del self._computing[key]
                future.set_result(outcome)

    def _take(self) -> _Batch:
        size = self._embedder.batch_size
        waiting = self._waiting
        self._waiting = _Batch(waiting.pixels[size:], waiting.keys[size:], waiting.futures[size:])
        if not self._waiting.keys:
            self._ready.clear()
        return _Batch(waiting.pixels[:size], waiting.keys[:size], waiting.futures[:size])

    def _embed(self, batch: _Batch) -> list[Outcome]:
        outcomes: list[Outcome] = []
        found: dict[str, Float16s] = {}
        for key, vector in zip(batch.keys, self._vectors(batch.pixels), strict=True):
            if isinstance(vector, Exception):
                reason = f"inference failed: {type(vector).__name__}: {vector}"
                outcomes.append(Failed(reason, permanent=False))
            else:
                found[key] = vector
                outcomes.append(Embedded(self.space, key, vector))
        try:
            self._store.embeddings.put(self.space, found)
        except (SQLAlchemyError, OSError) as error:  # a cache: it is only computed again
            log.warning("embeddings not kept", reason=str(error))
        return outcomes

    def _vectors(self, pixels: Sequence[npt.NDArray[Any]]) -> Sequence[Float16s | Exception]:
        try:
            return list(self._embedder.embed(pixels))
        except Exception as error:
            log.exception("batch not embedded", images=len(pixels))
            if len(pixels) == 1:
                return [error]
        # Memory may suffice for single images.
        return [vector for one in pixels for vector in self._vectors([one])]
