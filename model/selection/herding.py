"""MaxHerding and uncertainty herding: images that cover the pool, weighted by uncertainty.

MaxHerding (Bae, Noh, Sutherland: Generalized coverage for more robust low-budget active learning,
ECCV 2024) covers the pool by a kernel; Uncertainty Herding (Bae, Oliveira, Sutherland:
Uncertainty Herding: one active learning method for all label budgets, ICLR 2025) weighs the
covered images by the head's uncertainty.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import (
    head_features,
    oversampled,
    random_subset,
    top_without_duplicates,
)
from model.selection.registry import STRATEGIES, Pool

LAZY_BATCH = 16  # gains that are recomputed at a time
SUB_POOL = 2000  # candidates, and rows to cover
LEAST = np.float32(1e-3)  # uncertainty
WIDTH = 0.5  # of the kernel while nothing is labelled, times the median distance of two rows
NARROWEST = 0.25  # kernel, times the same


@STRATEGIES.register("maxherding")
class MaxHerding:
    """The strategy `maxherding`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose greedily the rows that cover most of the pool beyond the labelled images."""
        return _herd(pool, k, avoid, None)


@STRATEGIES.register("herding")
class UncertaintyHerding:
    """The strategy `herding`. Without predictions it is MaxHerding."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose greedily the rows that cover most uncertainty beyond the labelled images."""
        if not pool.probabilities:
            return _herd(pool, k, avoid, None)
        # Rows without uncertainty count a little too.
        return _herd(pool, k, avoid, pool.uncertainty - pool.uncertainty.min(initial=0) + LEAST)


def _herd(pool: Pool, k: int, avoid: Indices, weight: Float32s | None) -> list[int]:
    rng = np.random.default_rng(pool.seed)
    covered, others = random_subset(pool, avoid, SUB_POOL, rng)
    if not len(covered) or k <= 0:
        return []
    candidates = _candidates(covered, others, weight)
    rows = head_features(pool, pool.x[covered])
    labelled = head_features(pool, pool.x[avoid])
    if len(pool.labelled):
        labelled = np.concatenate([labelled, head_features(pool, pool.labelled)])
    width = _width(rows, labelled)
    weights = np.ones(len(covered), np.float32) if weight is None else weight[covered]
    cover = np.zeros(len(covered), np.float32)
    for start in range(0, len(labelled), 1000):
        cover = np.maximum(cover, _kernel(rows, labelled[start : start + 1000], width).max(axis=1))
    kernel = _kernel(head_features(pool, pool.x[candidates]), rows, width)
    ranked = candidates[_greedy(kernel, weights, cover, oversampled(k))]
    return top_without_duplicates(pool, ranked, np.concatenate([covered, others]), k, avoid)


def _candidates(covered: Indices, others: Indices, weight: Float32s | None) -> Indices:
    """Return the candidates: in large pools, half are random, half the most uncertain of all."""
    if weight is None or not len(others):
        return covered
    half = SUB_POOL // 2
    rest = np.concatenate([covered[half:], others])
    return np.concatenate([covered[:half], rest[np.argsort(-weight[rest], kind="stable")[:half]]])


def _width(rows: Float32s, labelled: Float32s) -> float:
    """The kernel's width: the least distance of two labelled rows, as in the papers."""
    sample = rows[:500]
    median = float(np.median(_distances(sample, sample)))
    if len(labelled) < 2:
        return max(WIDTH * median, 1e-3)
    between = _distances(labelled[-1000:], labelled[-1000:])
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
    """Choose greedily k of m rows [m, n] that add most to the weighted cover [n].

    A gain can only shrink as others are chosen, so that only the largest are recomputed, some at a
    time (Minoux's lazy greedy, 1978).
    """
    gains = np.empty(len(kernel), np.float32)
    for start in range(0, len(kernel), 500):
        part = kernel[start : start + 500]
        gains[start : start + 500] = np.maximum(part - cover, 0) @ weight
    chosen: list[int] = []
    for _ in range(min(k, len(kernel))):
        fresh = np.zeros(len(kernel), np.bool_)
        while not fresh[best := int(gains.argmax())]:
            stale = np.argpartition(-gains, min(LAZY_BATCH, len(gains)) - 1)[:LAZY_BATCH]
            stale = np.union1d(stale[~fresh[stale] & np.isfinite(gains[stale])], best)
            gains[stale] = np.maximum(kernel[stale] - cover, 0) @ weight
            fresh[stale] = True
        chosen.append(best)
        cover = np.maximum(cover, kernel[best])
        gains[best] = -np.inf
    return np.array(chosen, np.intp)
