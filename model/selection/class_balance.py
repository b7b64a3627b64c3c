"""Class balance: uncertain images of classes that have few labels.

After Bengar, van de Weijer, Lopez Fuentes, Raducanu: Class-balanced active learning for image
classification (WACV 2022), as a weight of the uncertainty instead of an optimisation.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import diverse_rows, head_features, without_duplicates
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool, Probabilities

NAME = "balanced"

CANDIDATES = 8  # times k
MOST_CANDIDATES = 4000


@STRATEGIES.register(NAME)
class ClassBalance:
    """The strategy `balanced`. It needs predictions, also for labelled images."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose one image of each of k clusters of uncertain images, weighted by class rarity."""
        if not pool.probabilities:
            raise NeedsPredictionsError("Balancing needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        score = (pool.uncertainty - pool.uncertainty.min(initial=0) + 1e-3) * rarity(pool)
        order = np.lexsort((rng.random(len(score)), -score))
        order = order[~np.isin(order, avoid)]
        if not len(order) or k <= 0:
            return []
        order = without_duplicates(pool, order, max(k, min(CANDIDATES * k, MOST_CANDIDATES)), avoid)
        if len(order) > k:
            order = order[diverse_rows(head_features(pool, pool.x[order]), k, rng)]
        return [int(row) for row in order]


def rarity(pool: Pool) -> Float32s:
    """[N] the expected rarity of a row's class among the labels; 1 on average."""
    if pool.predict is None or not len(pool.labelled):
        return np.ones(len(pool.x), np.float32)
    of_labelled = pool.predict(np.asarray(pool.labelled, np.float32))
    weights = [_weight(p, k) for p, k in zip(pool.probabilities, of_labelled, strict=True)]
    total: Float32s = np.mean(weights, axis=0, dtype=np.float32)
    return total


def _weight(p: Probabilities, of_labelled: Probabilities) -> Float32s:
    """[N] rarity by one control; class sizes are estimated by predictions for labelled images."""
    counts = np.asarray(of_labelled, np.float32).sum(axis=0) + 1
    weight = np.asarray(p, np.float32) @ (counts.sum() / len(counts) / counts)
    scaled: Float32s = weight / max(float(weight.mean()), 1e-6)
    return scaled
