"""Thread-safe caches in memory: least recently used, and a throttle."""

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache, TTLCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KEYS = 10_000  # that a throttle keeps


class LruCache(Generic[K, V]):
    """A thread-safe cache of at most `size` entries; the least recently used one is removed."""

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[K, V] = LRUCache(size)
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, or None."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Set the value."""
        with self._lock:
            self._entries[key] = value


class Throttle:
    """Lets one call per key pass in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._passed: TTLCache[Hashable, None] = TTLCache(KEYS, seconds)
        self._lock = threading.Lock()

    def passes(self, key: Hashable) -> bool:
        """Whether the call passes; if so, the next wait begins."""
        with self._lock:
            if key in self._passed:
                return False
            self._passed[key] = None
            return True
