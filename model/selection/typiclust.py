"""TypiClust: the most typical image of each cluster that has no label yet, largest clusters first.

Hacohen, Dekel, Weinshall: Active learning on a budget, opposite strategies suit high and low
budgets (ICML 2022). Typical is what has near neighbours.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import clusters, drawn_from, finished, usual_rows
from model.selection.registry import STRATEGIES, Pool

NAME = "typiclust"

SUB_POOL = 5000  # images looked at
MOST_CLUSTERS = 500
NEIGHBOURS = 20
SMALLEST = 5  # images: a cluster of fewer is no cluster


@STRATEGIES.register(NAME)
class TypiClust:
    """The strategy `typiclust`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """The most typical of each cluster, those with the fewest labels first."""
        rng = np.random.default_rng(pool.seed)
        free, others = drawn_from(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        rows = usual_rows(pool, np.concatenate([pool.x[avoid], pool.x[free]]))
        known = len(pool.labelled) + len(avoid)
        both = np.concatenate([usual_rows(pool, pool.labelled), rows]) if known else rows
        cluster, _ = clusters(both, min(known + k, MOST_CLUSTERS), rng)
        count = int(cluster.max()) + 1
        labels = np.bincount(cluster[:known], minlength=count)
        sizes = np.bincount(cluster, minlength=count)
        typical = _typicality(both[known:], cluster[known:])
        # Within its cluster, a row waits for as many turns as there are more typical ones.
        order = np.lexsort((-typical, cluster[known:]))
        own = cluster[known:][order]
        starts = np.searchsorted(own, own)
        turn = np.empty(len(order), np.intp)
        turn[order] = np.arange(len(order)) - starts + labels[own]
        small = sizes[cluster[known:]] <= SMALLEST
        ordered = free[np.lexsort((-typical, -sizes[cluster[known:]], turn, small))]
        return finished(pool, ordered, others, k, avoid)


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
