"""BADGE: images of large and diverse gradients of the head's loss.

Ash, Zhang, Krishnamurthy, Langford, Agarwal: Deep batch active learning by diverse, uncertain
gradient lower bounds (ICLR 2020): k-means++ on the gradient of the head's loss, its prediction
taken as the label. The gradient is an outer product, so that distances need its two factors only.
"""

import numpy as np

from model.arrays import Float32s, Floats, Indices
from model.selection.geometry import (
    head_features,
    oversampled,
    projected,
    random_subset,
    top_without_duplicates,
)
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool

NAME = "badge"

SUB_POOL = 10_000  # candidates


@STRATEGIES.register(NAME)
class Badge:
    """The strategy `badge`. It needs predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose by k-means++ on the gradients, the longest first."""
        if not pool.probabilities:
            raise NeedsPredictionsError("BADGE needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        free, others = random_subset(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        rows = projected(head_features(pool, pool.x[free]), rng)
        errors = [_errors(p[free]) for p in pool.probabilities]
        ranked = free[_kmeans_plus_plus(rows, errors, oversampled(k), rng)]
        return top_without_duplicates(pool, ranked, np.concatenate([free, others]), k, avoid)


def _errors(p: Floats) -> Float32s:
    """The gradient [n, C] of the loss by the logits, the most probable class taken as the label.

    It is scaled to a mean length of one, so that all controls have the same weight.
    """
    errors = np.array(p, np.float32)
    errors[np.arange(len(p)), errors.argmax(axis=1)] -= 1
    length = np.linalg.norm(errors, axis=1).mean()
    scaled: Float32s = errors / max(float(length), 1e-6)
    return scaled


def _kmeans_plus_plus(
    rows: Float32s, errors: list[Float32s], k: int, rng: np.random.Generator
) -> Indices:
    """Draw up to k of n rows, each by the squared distance of its gradient to those before."""
    lengths = np.square(rows).sum(axis=1) * sum(np.square(e).sum(axis=1) for e in errors)
    chosen = [int(lengths.argmax())]
    nearest = np.full(len(rows), np.inf)
    while len(chosen) < min(k, len(rows)):
        last = chosen[-1]
        products = sum(e @ e[last] for e in errors) * (rows @ rows[last])
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * products, 0))
        nearest[chosen] = 0
        cumulated = np.cumsum(nearest, dtype=np.float64)
        if cumulated[-1] <= 1e-9:
            break
        place = np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")
        chosen.append(min(int(place), len(rows) - 1))
    return np.array(list(dict.fromkeys(chosen)), np.intp)
