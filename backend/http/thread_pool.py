"""Runs blocking calls (SQL, numpy, large JSON) in threads, so that the event loop never waits."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class BusyError(Exception):
    """The pool's queue is full; try again in a moment."""


class BoundedThreadPool:
    """A thread pool with a bounded queue: `threads` calls run, and `waiting` more may wait."""

    def __init__(self, name: str, threads: int, *, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(threads + waiting)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in one of the threads.

        Raises:
            BusyError: the queue is full.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError("too many requests are waiting already")
        future = self._executor.submit(function, *args, **kwargs)
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for the running calls, and cancel the waiting ones."""
        self._executor.shutdown(cancel_futures=True)
