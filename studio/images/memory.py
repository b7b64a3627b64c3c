"""Bounds the memory that all decoders of a process take together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

MIB = 1024 * 1024
# Bytes a pixel that decoding takes at its peak, as measured with files of 50 million pixels.
BYTES_A_PIXEL = {
    "JPEG": 10, "PNG": 5, "GIF": 5, "BMP": 5, "TIFF": 12, "PPM": 5, "TGA": 5, "ICO": 8,
    "WEBP": 17, "JPEG2000": 25, "AVIF": 12, "HEIF": 10, "JXL": 10,
}  # fmt: skip
SMALL = 8 * MIB  # takes no place in the budget
MOST_ALONE = 900 * MIB  # of one image
MAPPED = 4 * MIB  # blocks from this size on go back to the system when they are freed
MOST = 320 * MIB * max(os.cpu_count() or 1, 2)


class MemoryBudget:
    """Lets decoders run side by side as long as their estimates fit; a larger one runs alone.

    First come, first served, so that a large image isn't overtaken for ever.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes fit, and hold them for a `with` block."""
        if size <= SMALL:
            yield
            return
        size = min(size, self._most)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._taken + size <= self._most)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


def _return_large_blocks() -> None:
    """Have the C library give large blocks back to the system, on Linux with glibc.

    By default it keeps blocks of up to 32 MB once some were freed, for each thread: eight threads
    that decode then hold several times what their images take.
    """
    threshold = -3  # M_MMAP_THRESHOLD
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(threshold, MAPPED)


_return_large_blocks()
BUDGET = MemoryBudget(MOST)
