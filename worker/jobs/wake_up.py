"""Wakes the scheduler when a job has requested other work, over Redis's publish and subscribe.

It saves the scheduler's own wait and guarantees nothing: a message that nobody hears is lost, and
the scheduler finds the work in its next round.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq.defaults import RQ_KEY_PREFIX

CHANNEL = f"{RQ_KEY_PREFIX}:wake-up"
LISTEN_SECONDS = 5.0  # for one message
RETRY_SECONDS = 5.0  # between two tries to subscribe

log = structlog.get_logger()


def wake_scheduler(connection: Redis) -> None:
    """Tell the scheduler that there is new work. A broker that is away is no error."""
    with contextlib.suppress(RedisError):
        connection.publish(CHANNEL, b"")


class WakeUpListener:
    """A thread that calls `wake` whenever `wake_scheduler` was called in some process.

    Args:
        redis: a client of its own, that doesn't retry; closed by `stop`.
    """

    def __init__(self, redis: Redis, wake: Callable[[], None]) -> None:
        self._redis = redis
        self._wake = wake
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake-up", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and close the client."""
        self._stopped.set()
        wake_scheduler(self._redis)
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except RedisError as error:
                log.info("no wake-ups from the broker; trying again", error=str(error))
                self._stopped.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        untyped: Any = self._redis
        with untyped.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(CHANNEL)
            while not self._stopped.is_set():
                if channel.get_message(timeout=LISTEN_SECONDS) is not None:
                    self._wake()
