"""Reads the live workers from the broker, and remembers them while it doesn't answer."""

import threading
import time
from dataclasses import dataclass, replace

from redis import RedisError

from store.settings import Settings
from worker.queues.broker import broker_address, redis_from_url
from worker.queues.worker_registry import WorkerInfo, live_workers

ANSWER_SECONDS = 0.5  # that a page waits for the broker
PAUSE_SECONDS = 5.0  # in which a broker that didn't answer isn't asked again


@dataclass(frozen=True)
class KnownWorkers:
    """The workers as they were at `read_at` (seconds since 1970, None: never read).

    `broker` says whether the broker answered when it was asked last.
    """

    workers: tuple[WorkerInfo, ...] = ()
    broker: bool = False
    read_at: float | None = None


class WorkerMonitor:
    """Reads the live workers. One thread asks the broker at a time, and none waits for long."""

    def __init__(self, settings: Settings) -> None:
        self._redis = redis_from_url(
            broker_address(settings), retries=0, answer_seconds=ANSWER_SECONDS
        )
        self._known = KnownWorkers()
        self._ask_at = 0.0  # monotonic
        self._asking = threading.Lock()

    def read(self) -> KnownWorkers:
        """The live workers; the last known ones when the broker doesn't answer in time."""
        if not self._asking.acquire(timeout=ANSWER_SECONDS):
            return replace(self._known, broker=False)
        try:
            if time.monotonic() >= self._ask_at:
                self._known = self._ask()
            return self._known
        finally:
            self._asking.release()

    def _ask(self) -> KnownWorkers:
        try:
            return KnownWorkers(tuple(live_workers(self._redis)), True, time.time())
        except RedisError:
            self._ask_at = time.monotonic() + PAUSE_SECONDS
            return replace(self._known, broker=False)

    def close(self) -> None:
        """Close its connections."""
        self._redis.close()


def read_workers(settings: Settings) -> KnownWorkers:
    """The live workers, read once."""
    monitor = WorkerMonitor(settings)
    try:
        return monitor.read()
    finally:
        monitor.close()
