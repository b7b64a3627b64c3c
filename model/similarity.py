"""Nearest neighbours by cosine among many embeddings: a coarse scan of all, then an exact one.

The scan reads one byte a number (each row scaled to -127 to 127), since turning float16 into what a
processor multiplies takes numpy ten times as long as the product itself. Rounding moves a cosine of
1,280 numbers by some 0.0002, so the best of the coarse scan, a few hundred, hold the exact best.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Floats, Indices
from model.selection.geometry import unit_rows

BLOCK = 256  # rows turned into floats at a time: they stay in the processor's cache
THREADS = 2

Codes = NDArray[np.int8]


def quantise(x: Floats) -> tuple[Codes, Float32s]:
    """Codes [N, D] and scales [N] of embeddings [N, D]: codes × scales are nearly unit rows.

    Rows that are zero or not finite become zeros: nothing is similar to them.
    """
    finite = np.asarray(np.isfinite(x).all(axis=1), np.bool_)
    units = unit_rows(np.where(finite[:, None], x, 0))
    scales = np.abs(units).max(axis=1, initial=0) / np.float32(127)
    codes = np.rint(units / np.where(scales > 0, scales, 1)[:, None]).astype(np.int8)
    return codes, scales.astype(np.float32)


def coarse_cosines(codes: Codes, scales: Float32s, query: Floats) -> Float32s:
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


def best(scores: Float32s, count: int) -> Indices:
    """The rows of the `count` highest of scores [N], the highest first."""
    count = min(count, len(scores))
    if count == 0:
        return np.empty(0, np.intp)
    rows = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    return rows[np.argsort(-scores[rows], kind="stable")]


def cosines(x: Floats, query: Floats) -> Float32s:
    """The cosines [N] of embeddings [N, D] to `query` [D]; -1 for rows that are not finite."""
    finite = np.asarray(np.isfinite(x).all(axis=1), np.bool_)
    exact: Float32s = unit_rows(np.where(finite[:, None], x, 0)) @ unit_rows(query[None])[0]
    return np.where(finite, exact, np.float32(-1))
