"""Embeds a stream of images, loading and inference in parallel, in bounded memory."""

import queue
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray
from PIL import Image

from model.arrays import Float16s
from model.embedding.embedder import Embedder

K = TypeVar("K")
T = TypeVar("T")

# Batches in inference at a time: while one is gathered or handed back, another computes.
BATCHES_IN_FLIGHT = 2


def embed_stream(
    embedder: Embedder,
    items: Iterable[tuple[K, T]],
    load: Callable[[T], Image.Image],
    *,
    workers: int,
) -> Generator[tuple[K, Float16s | Exception]]:
    """Yield each item's key with its embedding [D], or with the exception of loading it.

    `load` is called in `workers` threads and returns an RGB image. Results come as they are ready,
    not in the order of `items`, which is read only as far ahead as needed. An exception of
    inference, or of `items`, is raised, as it belongs to no single item. Closing the iterator early
    waits for the loads under way.
    """
    stream: _Stream[K, T] = _Stream(embedder, load, workers)
    try:
        for key, item in items:
            stream.add(key, item)
            while stream.is_full():
                yield from stream.advance()
        while stream.is_busy():
            yield from stream.advance(last=True)
    finally:
        stream.close()


class _Stream(Generic[K, T]):
    """The state of one `embed_stream`; only its caller's thread touches it."""

    def __init__(self, embedder: Embedder, load: Callable[[T], Image.Image], workers: int) -> None:
        self._embedder = embedder
        self._load = load
        self._loaders = ThreadPoolExecutor(workers, "embed-load")
        self._runners = ThreadPoolExecutor(BATCHES_IN_FLIGHT, "embed-run")
        self._loads: dict[Future[NDArray[Any]], K] = {}
        self._runs: dict[Future[Float16s], list[K]] = {}
        self._prepared: list[tuple[K, NDArray[Any]]] = []
        self._finished: queue.SimpleQueue[Future[NDArray[Any]]] = queue.SimpleQueue()
        self._limit = 2 * embedder.batch_size + workers

    def add(self, key: K, item: T) -> None:
        future = self._loaders.submit(self._load_and_prepare, item)
        self._loads[future] = key
        future.add_done_callback(self._finished.put)

    def is_full(self) -> bool:
        return len(self._loads) + len(self._prepared) >= self._limit

    def is_busy(self) -> bool:
        return bool(self._loads or self._prepared or self._runs)

    def advance(self, *, last: bool = False) -> Iterator[tuple[K, Float16s | Exception]]:
        """Wait for a load or a batch, yield its results, and start the next batches.

        `last`: no items will be added, so that a batch needn't be full.
        """
        finished = self._finished.get()
        if finished in self._runs:
            yield from zip(self._runs.pop(finished), finished.result(), strict=True)
        else:
            key = self._loads.pop(finished)
            error = finished.exception()
            if error is None:
                self._prepared.append((key, finished.result()))
            elif isinstance(error, Exception):
                yield key, error
            else:
                raise error
        self._start_batches(partly_filled=last and not self._loads)

    def close(self) -> None:
        self._loaders.shutdown(cancel_futures=True)
        self._runners.shutdown(cancel_futures=True)

    def _start_batches(self, *, partly_filled: bool) -> None:
        size = self._embedder.batch_size
        while len(self._runs) < BATCHES_IN_FLIGHT and (
            len(self._prepared) >= size or (partly_filled and self._prepared)
        ):
            batch, self._prepared = self._prepared[:size], self._prepared[size:]
            future = self._runners.submit(self._embedder.embed, [pixels for _, pixels in batch])
            self._runs[future] = [key for key, _ in batch]
            future.add_done_callback(self._finished.put)

    def _load_and_prepare(self, item: T) -> NDArray[Any]:
        return self._embedder.prepare(self._load(item))
