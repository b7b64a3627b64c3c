"""Margin with diversity: the images that the head is least sure of, spread over clusters.

The margin is the lead of the best class's probability over the second's (Scheffer, Decomain, Wrobel
2001); clustering the candidates keeps a batch from being one question asked many times (Zhdanov,
Diverse mini-batch active learning, 2019).
"""

import numpy as np
from numpy.typing import NDArray

from model.selection.geometry import clusters, distinct, unit_rows
from model.selection.registry import STRATEGIES, Pool

NAME = "margin"

CANDIDATES = 8  # times k, of least margin
MOST_CANDIDATES = 4000


def margins(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """The lead [N] of each row's best class over the second, of probabilities [N, C]."""
    p = np.asarray(probabilities, np.float32)
    if p.shape[1] < 2:
        return np.asarray(p.sum(axis=1), np.float32)
    best_two = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    lead: NDArray[np.float32] = best_two[:, 1] - best_two[:, 0]
    return lead


@STRATEGIES.register(NAME)
class Margin:
    """The strategy `margin`. It needs predictions."""

    def choose(self, pool: Pool, k: int, avoid: NDArray[np.intp]) -> list[int]:
        """The image of least margin in each of k clusters of the candidates, least margin first."""
        if pool.probabilities is None:
            raise ValueError("Choosing by margin needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        margin = margins(pool.probabilities)
        # Equal margins are common where nothing is known: chance decides, not the order of rows.
        order = np.lexsort((rng.random(len(margin)), margin))
        order = order[~np.isin(order, avoid)]
        if not len(order) or k <= 0:
            return []
        order = distinct(pool.x, order, max(k, min(CANDIDATES * k, MOST_CANDIDATES)), avoid)
        if len(order) > k:
            cluster, _ = clusters(unit_rows(pool.x[order]), k, rng)
            first = np.sort(np.unique(cluster, return_index=True)[1])
            rest = np.setdiff1d(np.arange(len(order)), first)
            order = order[np.sort(np.concatenate([first, rest[: k - len(first)]]))]
        return [int(row) for row in order]
