"""TypiClust: the most typical image of each cluster without labels, largest clusters first.

Hacohen, Dekel, Weinshall: Active learning on a budget, opposite strategies suit high and low
budgets (ICML 2022). An image is typical if its neighbours are near.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import clusters, head_features, random_subset, top_without_duplicates
from model.selection.registry import STRATEGIES, Pool

NAME = "typiclust"

SUB_POOL = 5000  # candidates
MOST_CLUSTERS = 500
NEIGHBOURS = 20
SMALLEST = 5  # images: smaller clusters come last


@STRATEGIES.register(NAME)
class TypiClust:
    """The strategy `typiclust`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose the most typical image of each cluster, those with the fewest labels first."""
        rng = np.random.default_rng(pool.seed)
        free, others = random_subset(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        rows = head_features(pool, np.concatenate([pool.x[avoid], pool.x[free]]))
        labelled_count = len(pool.labelled) + len(avoid)
        both = (
            np.concatenate([head_features(pool, pool.labelled), rows]) if labelled_count else rows
        )
        cluster, _ = clusters(both, min(labelled_count + k, MOST_CLUSTERS), rng)
        count = int(cluster.max()) + 1
        labels = np.bincount(cluster[:labelled_count], minlength=count)
        sizes = np.bincount(cluster, minlength=count)
        typical = _typicality(both[labelled_count:], cluster[labelled_count:])
        # A row's turn is its rank in its cluster, plus the labels of the cluster.
        order = np.lexsort((-typical, cluster[labelled_count:]))
        own = cluster[labelled_count:][order]
        starts = np.searchsorted(own, own)
        turn = np.empty(len(order), np.intp)
        turn[order] = np.arange(len(order)) - starts + labels[own]
        small = sizes[cluster[labelled_count:]] <= SMALLEST
        ordered = free[np.lexsort((-typical, -sizes[cluster[labelled_count:]], turn, small))]
        return top_without_duplicates(pool, ordered, others, k, avoid)


def _typicality(rows: Float32s, cluster: Indices) -> Float32s:
    """[n] the inverse of the mean distance to the nearest neighbours in the same cluster."""
    typical = np.zeros(len(rows), np.float32)
    for name in np.unique(cluster):
        members = np.flatnonzero(cluster == name)
        near = min(NEIGHBOURS, len(members) - 1)
        if near < 1:
            continue
        distances = np.maximum(2 - 2 * rows[members] @ rows[members].T, 0) ** 0.5
        nearest = np.partition(distances, near, axis=1)[:, : near + 1]
        typical[members] = 1 / np.maximum(nearest.sum(axis=1) / near, 1e-6)
    return typical
