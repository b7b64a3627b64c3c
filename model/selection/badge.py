"""BADGE: images whose labels would move the head most, each into another direction.

Ash, Zhang, Krishnamurthy, Langford, Agarwal: Deep batch active learning by diverse, uncertain
gradient lower bounds (ICLR 2020): k-means++ on the gradient of the head's loss if its own answer
were right. The gradient is an outer product, so that distances need its two factors only.
"""

import numpy as np

from model.arrays import Float32s, Floats, Indices
from model.selection.geometry import drawn_from, finished, projected, usual_rows, with_spare
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool

NAME = "badge"

SUB_POOL = 10_000  # images looked at


@STRATEGIES.register(NAME)
class Badge:
    """The strategy `badge`. It needs predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Rows drawn by k-means++ among the gradients, the longest first."""
        if not pool.controls:
            raise NeedsPredictionsError("BADGE needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        free, others = drawn_from(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        rows = projected(usual_rows(pool, pool.x[free]), rng)
        errors = [_errors(p[free]) for p in pool.controls]
        ranked = free[_scattered(rows, errors, with_spare(k), rng)]
        return finished(pool, ranked, np.concatenate([free, others]), k, avoid)


def _errors(p: Floats) -> Float32s:
    """The gradient [n, C] of the loss by the logits if the likeliest class were right.

    Brought to a mean length of one, so that no control outweighs another.
    """
    errors = np.array(p, np.float32)
    errors[np.arange(len(p)), errors.argmax(axis=1)] -= 1
    length = np.linalg.norm(errors, axis=1).mean()
    scaled: Float32s = errors / max(float(length), 1e-6)
    return scaled


def _scattered(rows: Float32s, errors: list[Float32s], k: int, rng: np.random.Generator) -> Indices:
    """Up to k rows [n, r], each drawn by its gradient's squared distance to those before."""
    lengths = np.square(rows).sum(axis=1) * sum(np.square(e).sum(axis=1) for e in errors)
    chosen = [int(lengths.argmax())]
    nearest = np.full(len(rows), np.inf)
    while len(chosen) < min(k, len(rows)):
        last = chosen[-1]
        likeness = sum(e @ e[last] for e in errors) * (rows @ rows[last])
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * likeness, 0))
        nearest[chosen] = 0
        cumulated = np.cumsum(nearest, dtype=np.float64)
        if cumulated[-1] <= 1e-9:
            break
        place = np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")
        chosen.append(min(int(place), len(rows) - 1))
    return np.array(list(dict.fromkeys(chosen)), np.intp)
