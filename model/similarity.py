"""Nearest neighbours by cosine among many embeddings: a coarse scan of all, then an exact one.

The scan reads one byte a number (each row scaled to -127 to 127), since turning float16 into what a
processor multiplies takes numpy ten times as long as the product itself. Rounding moves a cosine of
1,280 numbers by some 0.0002, so the best of the coarse scan, a few hundred, hold the exact best.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from model.heads.features import Floats
from model.selection.geometry import unit_rows

BLOCK = 256  # rows turned into floats at a time: they stay in the processor's cache
THREADS = 2

Codes = NDArray[np.int8]


def quantise(x: NDArray[np.floating]) -> tuple[Codes, NDArray[np.float32]]:
    """Codes [N, D] and scales [N] of embeddings [N, D]: codes × scales are nearly unit rows.

    Rows that are zero or not finite become zeros: nothing is similar to them.
    """
    finite = np.isfinite(x).all(axis=1)
    units = unit_rows(np.where(finite[:, None], x, 0))
    scales = np.abs(units).max(axis=1, initial=0) / np.float32(127)
    codes = np.rint(units / np.where(scales > 0, scales, 1)[:, None]).astype(np.int8)
    return codes, scales.astype(np.float32)


def coarse_cosines(
    codes: Codes, scales: NDArray[np.float32], query: NDArray[np.floating]
) -> Floats:
    """Nearly the cosines [N] of all rows to `query` [D]. `codes` may be a memory-mapped file."""
    direction = unit_rows(query[None])[0]
    found = np.empty(len(codes), np.float32)

    def scan(start: int, stop: int) -> None:
        buffer = np.empty((BLOCK, codes.shape[1]), np.float32)
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            rows = buffer[: last - first]
            np.copyto(rows, codes[first:last])
            np.dot(rows, direction, out=found[first:last])

    edges = [len(codes) * part // THREADS for part in range(THREADS + 1)]
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(scan, edges[:-1], edges[1:]))
    return found * scales


def best(scores: Floats, count: int) -> NDArray[np.intp]:
    """The rows of the `count` highest of scores [N], the highest first."""
    count = min(count, len(scores))
    if count == 0:
        return np.empty(0, np.intp)
    rows = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    return rows[np.argsort(-scores[rows], kind="stable")]


def cosines(x: NDArray[np.floating], query: NDArray[np.floating]) -> Floats:
    """The cosines [N] of embeddings [N, D] to `query` [D]; -1 for rows that are not finite."""
    finite = np.isfinite(x).all(axis=1)
    exact: Floats = unit_rows(np.where(finite[:, None], x, 0)) @ unit_rows(query[None])[0]
    return np.where(finite, exact, np.float32(-1))
