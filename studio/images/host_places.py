"""Limits how many images are fetched from one host at a time, so that slow ones don't stop all."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator

from cachetools import TTLCache

from studio.images.policy import PassingImageError

SLOW = 3.0  # seconds; a fetch that fails sooner kept nobody waiting
PATIENCE = 2.0  # seconds that a fetch waits for a place
MEMORY = 60.0  # seconds that the outcome of a host's last fetch is remembered
MOST_HOSTS = 4096


class HostPlaces:
    """Hands out the places of `places` threads that fetch images. Safe to share between threads.

    Label Studio's own images need none, and all other hosts together leave one for them. Hosts of
    which no image has arrived of late share a third, and each of them gets a quarter; where a fetch
    was given up after a while, the next ones of that host don't even wait for a place.
    """

    def __init__(self, places: int) -> None:
        self._foreign = max(1, places - 1)
        self._unproven = max(1, places // 3)
        self._each_unproven = max(1, places // 4)
        self._running: Counter[str] = Counter()
        self._answers: TTLCache[str, bool] = TTLCache(MOST_HOSTS, MEMORY)
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, host: str) -> Iterator[None]:
        """Hold a place for a `with` block. Raises PassingImageError when the host has no more."""
        with self._changed:
            wait = PATIENCE if self._answers.get(host, True) else 0.0
            if not self._changed.wait_for(lambda: self._is_free(host), wait):
                raise PassingImageError(f"{host} is slow: images of other hosts go first")
            began = time.monotonic()
            self._running[host] += 1
        outcome = True
        try:
            yield
        except PassingImageError:
            outcome = time.monotonic() - began < SLOW
            raise
        finally:
            with self._changed:
                self._running[host] -= 1
                if not self._running[host]:
                    del self._running[host]
                self._answers[host] = outcome
                self._changed.notify_all()

    def _is_free(self, host: str) -> bool:
        if self._running.total() >= self._foreign:
            return False
        if self._answers.get(host):
            return True
        unproven = sum(n for name, n in self._running.items() if not self._answers.get(name))
        return unproven < self._unproven and self._running[host] < self._each_unproven
