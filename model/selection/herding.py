"""Herding: the images that stand for as much as possible of what is not covered and not sure.

MaxHerding (Bae, Noh, Sutherland: Generalized coverage for more robust low-budget active learning,
ECCV 2024) covers the pool with a kernel; Uncertainty Herding (Bae, Oliveira, Sutherland:
Uncertainty Herding: one active learning method for all label budgets, ICLR 2025) weighs what is to
be covered by how unsure the head is of it.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import drawn_from, finished, usual_rows, with_spare
from model.selection.registry import STRATEGIES, Pool

AT_A_TIME = 16  # gains that are computed again
SUB_POOL = 2000  # images looked at, and to be covered
LEAST = np.float32(1e-3)  # doubt
NARROWEST = 0.25  # kernel, in the same measure
WIDTH = 0.5  # of the kernel while nothing is labelled, times the median distance of two rows


@STRATEGIES.register("maxherding")
class MaxHerding:
    """The strategy `maxherding`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Greedily what covers most of the pool that labelled images don't."""
        return _herd(pool, k, avoid, None)


@STRATEGIES.register("herding")
class UncertaintyHerding:
    """The strategy `herding`. Without predictions it is MaxHerding."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Greedily what covers most of the doubt that labelled images leave."""
        if not pool.controls:
            return _herd(pool, k, avoid, None)
        # Where nothing is in doubt, what is covered still counts.
        return _herd(pool, k, avoid, pool.doubt - pool.doubt.min(initial=0) + LEAST)


def _herd(pool: Pool, k: int, avoid: Indices, weight: Float32s | None) -> list[int]:
    rng = np.random.default_rng(pool.seed)
    covered, others = drawn_from(pool, avoid, SUB_POOL, rng)
    if not len(covered) or k <= 0:
        return []
    candidates = _candidates(covered, others, weight)
    rows = usual_rows(pool, pool.x[covered])
    known = usual_rows(pool, pool.x[avoid])
    if len(pool.labelled):
        known = np.concatenate([known, usual_rows(pool, pool.labelled)])
    width = _width(rows, known)
    weights = np.ones(len(covered), np.float32) if weight is None else weight[covered]
    cover = np.zeros(len(covered), np.float32)
    for start in range(0, len(known), 1000):
        cover = np.maximum(cover, _kernel(rows, known[start : start + 1000], width).max(axis=1))
    kernel = _kernel(usual_rows(pool, pool.x[candidates]), rows, width)
    ranked = candidates[_greedy(kernel, weights, cover, with_spare(k))]
    return finished(pool, ranked, np.concatenate([covered, others]), k, avoid)


def _candidates(covered: Indices, others: Indices, weight: Float32s | None) -> Indices:
    """What may be chosen: all that is to be covered, in large pools half of it and of all others
    as many that are most in doubt.
    """
    if weight is None or not len(others):
        return covered
    half = SUB_POOL // 2
    rest = np.concatenate([covered[half:], others])
    return np.concatenate([covered[:half], rest[np.argsort(-weight[rest], kind="stable")[:half]]])


def _width(rows: Float32s, known: Float32s) -> float:
    """The kernel's width: the least distance between two labelled rows, as the papers advise."""
    sample = rows[:500]
    median = float(np.median(_distances(sample, sample)))
    if len(known) < 2:
        return max(WIDTH * median, 1e-3)
    between = _distances(known[-1000:], known[-1000:])
    np.fill_diagonal(between, np.inf)
    return max(float(between.min()), NARROWEST * median, 1e-3)


def _distances(a: Float32s, b: Float32s) -> Float32s:
    distances: Float32s = np.sqrt(np.maximum(2 - 2 * a @ b.T, 0))
    return distances


def _kernel(a: Float32s, b: Float32s, width: float) -> Float32s:
    """The Gaussian kernel [n, m] of rows [n, D] and [m, D] of length one."""
    kernel: Float32s = np.exp((a @ b.T - 1) / np.float32(width**2))
    return kernel


def _greedy(kernel: Float32s, weight: Float32s, cover: Float32s, k: int) -> Indices:
    """The k rows of [m, n] that add most to the weighted cover [n], each after those before it.

    A row's gain can only shrink as others are chosen, so that only those are computed again whose
    last known gain is the best (Minoux's lazy greedy, 1978), some at a time.
    """
    gains = np.empty(len(kernel), np.float32)
    for start in range(0, len(kernel), 500):
        part = kernel[start : start + 500]
        gains[start : start + 500] = np.maximum(part - cover, 0) @ weight
    chosen: list[int] = []
    for _ in range(min(k, len(kernel))):
        fresh = np.zeros(len(kernel), np.bool_)
        while not fresh[best := int(gains.argmax())]:
            stale = np.argpartition(-gains, min(AT_A_TIME, len(gains)) - 1)[:AT_A_TIME]
            stale = np.union1d(stale[~fresh[stale] & np.isfinite(gains[stale])], best)
            gains[stale] = np.maximum(kernel[stale] - cover, 0) @ weight
            fresh[stale] = True
        chosen.append(best)
        cover = np.maximum(cover, kernel[best])
        gains[best] = -np.inf
    return np.array(chosen, np.intp)
