"""Herding: the images that stand for as much as possible of what is not covered and not sure.

MaxHerding (Bae, Noh, Sutherland: Generalized coverage for more robust low-budget active learning,
ECCV 2024) covers the pool with a kernel; Uncertainty Herding (Bae, Oliveira, Sutherland:
Uncertainty Herding: one active learning method for all label budgets, ICLR 2025) weighs what is to
be covered by how unsure the head is of it.
"""

import numpy as np
from numpy.typing import NDArray

from model.heads.features import Floats
from model.selection.geometry import drawn_from, finished, usual_rows, with_spare
from model.selection.registry import STRATEGIES, Pool

SUB_POOL = 3000  # images looked at, and to be covered
POWER = 1.0
NARROWEST = 0.25  # kernel, in the same measure
WIDTH = 0.5  # of the kernel while nothing is labelled, times the median distance of two rows


@STRATEGIES.register("maxherding")
class MaxHerding:
    """The strategy `maxherding`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: NDArray[np.intp]) -> list[int]:
        """Greedily what covers most of the pool that labelled images don't."""
        return _herd(pool, k, avoid, None)


@STRATEGIES.register("herding")
class UncertaintyHerding:
    """The strategy `herding`. Without predictions it is MaxHerding."""

    def choose(self, pool: Pool, k: int, avoid: NDArray[np.intp]) -> list[int]:
        """Greedily what covers most of the doubt that labelled images leave."""
        if not pool.controls:
            return _herd(pool, k, avoid, None)
        doubt = pool.doubt - min(float(pool.doubt.min()), 0.0)
        return _herd(pool, k, avoid, doubt**POWER)


def _herd(
    pool: Pool, k: int, avoid: NDArray[np.intp], weight: NDArray[np.float32] | None
) -> list[int]:
    rng = np.random.default_rng(pool.seed)
    free, others = drawn_from(pool, avoid, SUB_POOL, rng)
    if not len(free) or k <= 0:
        return []
    rows = usual_rows(pool, pool.x[free])
    known = usual_rows(pool, pool.x[avoid])
    if len(pool.labelled):
        known = np.concatenate([known, usual_rows(pool, pool.labelled)])
    width = _width(rows, known)
    weights = np.ones(len(free), np.float32) if weight is None else weight[free]
    cover = np.zeros(len(free), np.float32)
    for start in range(0, len(known), 1000):
        cover = np.maximum(cover, _kernel(rows, known[start : start + 1000], width).max(axis=1))
    ranked = _greedy(_kernel(rows, rows, width), weights, cover, with_spare(k))
    return finished(pool, free[ranked], np.concatenate([free, others]), k, avoid)


def _width(rows: Floats, known: Floats) -> float:
    """The kernel's width: the least distance between two labelled rows, as the papers advise."""
    sample = rows[:500]
    median = float(np.median(_distances(sample, sample)))
    if len(known) < 2:
        return max(WIDTH * median, 1e-3)
    between = _distances(known[-1000:], known[-1000:])
    np.fill_diagonal(between, np.inf)
    return max(float(between.min()), NARROWEST * median, 1e-3)


def _distances(a: Floats, b: Floats) -> Floats:
    distances: Floats = np.sqrt(np.maximum(2 - 2 * a @ b.T, 0))
    return distances


def _kernel(a: Floats, b: Floats, width: float) -> Floats:
    """The Gaussian kernel [n, m] of rows [n, D] and [m, D] of length one."""
    kernel: Floats = np.exp((a @ b.T - 1) / np.float32(width**2))
    return kernel


def _greedy(
    kernel: Floats, weight: NDArray[np.float32], cover: NDArray[np.float32], k: int
) -> NDArray[np.intp]:
    """The k columns that add most to the weighted cover [n], each after those before it.

    A column's gain can only shrink as others are chosen, so that only those are computed again
    whose last known gain is above the best so far (Minoux's lazy greedy, 1978).
    """
    gains = np.empty(len(kernel), np.float32)
    for start in range(0, len(kernel), 500):
        part = kernel[start : start + 500]
        gains[start : start + 500] = np.maximum(part - cover, 0) @ weight
    chosen: list[int] = []
    for _ in range(min(k, len(kernel))):
        best, fresh = -1, np.zeros(len(kernel), np.bool_)
        while best < 0:
            top = int(gains.argmax())
            if fresh[top]:
                best = top
                break
            stale = np.argpartition(-gains, min(16, len(gains) - 1))[:17]
            stale = stale[~fresh[stale] & np.isfinite(gains[stale])]
            stale = stale if top in stale else np.append(stale, top)
            gains[stale] = np.maximum(kernel[stale] - cover, 0) @ weight
            fresh[stale] = True
        chosen.append(best)
        cover = np.maximum(cover, kernel[best])
        gains[best] = -np.inf
    return np.array(chosen, np.intp)
