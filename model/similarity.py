"""Searches nearest neighbours by cosine: an approximate scan of all embeddings, then exact cosines.

The scan reads int8 (each row scaled to -127 to 127): numpy converts float16 at a tenth of the speed
at which it multiplies. Rounding changes a cosine of 1,280 numbers by some 0.0002, so that the top
few hundred of the scan include the exact top ten.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Floats, Indices
from model.selection.geometry import unit_rows

BLOCK = 256  # rows that are converted to float32 at a time, in the processor's cache
THREADS = 2

Codes = NDArray[np.int8]


def quantise(x: Floats) -> tuple[Codes, Float32s]:
    """Quantise embeddings [N, D] to int8 codes [N, D] and scales [N]; codes × scales ≈ unit rows.

    Rows that are zero or not finite become zeros: nothing is similar to them.
    """
    finite = np.asarray(np.isfinite(x).all(axis=1), np.bool_)
    units = unit_rows(np.where(finite[:, None], x, 0))
    scales = np.abs(units).max(axis=1, initial=0) / np.float32(127)
    codes = np.rint(units / np.where(scales > 0, scales, 1)[:, None]).astype(np.int8)
    return codes, scales.astype(np.float32)


def approximate_cosines(codes: Codes, scales: Float32s, query: Floats) -> Float32s:
    """Approximate cosines [N] of all rows to `query` [D]; `codes` may be memory-mapped."""
    direction = unit_rows(query[None])[0]
    products = np.empty(len(codes), np.float32)

    def scan(start: int, stop: int) -> None:
        buffer = np.empty((BLOCK, codes.shape[1]), np.float32)
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            rows = buffer[: last - first]
            np.copyto(rows, codes[first:last])
            np.dot(rows, direction, out=products[first:last])

    edges = [len(codes) * part // THREADS for part in range(THREADS + 1)]
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(scan, edges[:-1], edges[1:]))
    return products * scales


def top_rows(scores: Float32s, count: int) -> Indices:
    """Return the rows of the `count` highest scores [N], the highest first."""
    count = min(count, len(scores))
    if count == 0:
        return np.empty(0, np.intp)
    rows = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    return rows[np.argsort(-scores[rows], kind="stable")]


def cosines(x: Floats, query: Floats) -> Float32s:
    """Exact cosines [N] of embeddings [N, D] to `query` [D]; -1 for rows that are not finite."""
    finite = np.asarray(np.isfinite(x).all(axis=1), np.bool_)
    exact: Float32s = unit_rows(np.where(finite[:, None], x, 0)) @ unit_rows(query[None])[0]
    return np.where(finite, exact, np.float32(-1))
