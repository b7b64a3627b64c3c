"""What a process keeps in mind: bounded, and nothing that can't be read again."""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KEYS = 10_000  # whose last time a throttle remembers


class Recent(Generic[K, V]):
    """A dictionary that forgets what was used longest ago. For any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Remember the value."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)


class Throttle:
    """Lets one call in so many seconds pass, for each key."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: Recent[Hashable, float] = Recent(KEYS)

    def passes(self, key: Hashable) -> bool:
        """Whether it is time; if so, the wait begins anew."""
        now = time.monotonic()
        last = self._last.get(key)
        if last is not None and now - last < self._seconds:
            return False
        self._last.put(key, now)
        return True
