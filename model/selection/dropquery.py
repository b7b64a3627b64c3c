"""DropQuery: images whose prediction changes under dropout of features, spread over clusters.

Gupte, Aklilu, Nirschl, Yeung-Levy: Revisiting active learning in the era of vision foundation
models (TMLR 2024): dropout of 0.75, three passes, images for which most passes disagree with the
prediction, one for each of k clusters.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import (
    clusters,
    head_features,
    random_subset,
    top_without_duplicates,
    without_duplicates,
)
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool

NAME = "dropquery"

SUB_POOL = 10_000  # candidates
DROPOUT = 0.75
PASSES = 3
CANDIDATES = 25  # times k


@STRATEGIES.register(NAME)
class DropQuery:
    """The strategy `dropquery`. It needs heads."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose the image nearest to the centre of each cluster of images with disagreement."""
        if pool.predict is None:
            raise NeedsPredictionsError("DropQuery asks the heads again; there are none.")
        rng = np.random.default_rng(pool.seed)
        free, others = random_subset(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        disagreement = _disagreement(pool, free, rng)
        # The most disagreement first, ties at random.
        order = np.lexsort((rng.random(len(free)), -disagreement))
        most = max(int((disagreement >= 0.5).sum()), k)
        candidates = without_duplicates(pool, free[order], min(most, CANDIDATES * k), avoid)
        if not len(candidates):  # all are near-duplicates of chosen images
            return []
        rows = head_features(pool, pool.x[candidates])
        cluster, distance = clusters(rows, k, rng)
        nearest = np.lexsort((distance, cluster))
        first = nearest[np.unique(cluster[nearest], return_index=True)[1]]
        first = first[np.argsort(-np.bincount(cluster)[cluster[first]], kind="stable")]
        return top_without_duplicates(
            pool, candidates[first], np.concatenate([free[order], others]), k, avoid
        )


def _disagreement(pool: Pool, rows: Indices, rng: np.random.Generator) -> Float32s:
    """[n] the share of passes, over all controls, whose prediction differs from the head's."""
    assert pool.predict is not None
    x = np.asarray(pool.x[rows], np.float32)
    own = [p[rows].argmax(axis=1) for p in pool.probabilities]
    disagreement = np.zeros(len(rows), np.float32)
    for _ in range(PASSES):
        mask = rng.random(x.shape, np.float32) >= DROPOUT
        predictions = pool.predict(x * mask / (1 - DROPOUT))
        for before, after in zip(own, predictions, strict=True):
            disagreement += (after.argmax(axis=1) != before) / (PASSES * len(own))
    return disagreement
