"""Class balance: doubt first among images of classes that have few labels.

After Bengar, van de Weijer, Lopez Fuentes, Raducanu: Class-balanced active learning for image
classification (WACV 2022), as a weight on the doubt instead of an optimisation.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import distinct, spread_out, usual_rows
from model.selection.registry import STRATEGIES, Distribution, NeedsPredictionsError, Pool

NAME = "balanced"

CANDIDATES = 8  # times k
MOST_CANDIDATES = 4000


@STRATEGIES.register(NAME)
class Balanced:
    """The strategy `balanced`. It needs predictions, and heads to ask about labelled images."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """One of each of k clusters of what is in doubt, rare classes counting for more."""
        if not pool.controls:
            raise NeedsPredictionsError("Balancing needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        score = (pool.doubt - pool.doubt.min(initial=0) + 1e-3) * rarity(pool)
        order = np.lexsort((rng.random(len(score)), -score))
        order = order[~np.isin(order, avoid)]
        if not len(order) or k <= 0:
            return []
        order = distinct(pool, order, max(k, min(CANDIDATES * k, MOST_CANDIDATES)), avoid)
        if len(order) > k:
            order = order[spread_out(usual_rows(pool, pool.x[order]), k, rng)]
        return [int(row) for row in order]


def rarity(pool: Pool) -> Float32s:
    """[N] how rare the classes that a row may have are among labels; one on average."""
    if pool.ask is None or not len(pool.labelled):
        return np.ones(len(pool.x), np.float32)
    known = pool.ask(np.asarray(pool.labelled, np.float32))
    weights = [_weight(p, k) for p, k in zip(pool.controls, known, strict=True)]
    total: Float32s = np.mean(weights, axis=0, dtype=np.float32)
    return total


def _weight(p: Distribution, known: Distribution) -> Float32s:
    """[N] of one control: what heads say of labelled images stands for how many a class has."""
    counts = np.asarray(known, np.float32).sum(axis=0) + 1
    weight = np.asarray(p, np.float32) @ (counts.sum() / len(counts) / counts)
    scaled: Float32s = weight / max(float(weight.mean()), 1e-6)
    return scaled
