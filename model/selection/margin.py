"""Margin with diversity: the images that the heads are least sure of, spread over clusters.

Clustering the candidates keeps a batch from being one question asked many times (Zhdanov,
Diverse mini-batch active learning, 2019).
"""

import numpy as np

from model.arrays import Indices
from model.selection.geometry import distinct, spread_out, unit_rows
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool

NAME = "margin"

CANDIDATES = 8  # times k, of least margin
MOST_CANDIDATES = 4000


@STRATEGIES.register(NAME)
class Margin:
    """The strategy `margin`. It needs predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """The image of least margin in each of k clusters of the candidates, least margin first."""
        if not pool.controls:
            raise NeedsPredictionsError("Choosing by margin needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        margin = -pool.doubt
        # Equal margins are common where nothing is known: chance decides, not the order of rows.
        order = np.lexsort((rng.random(len(margin)), margin))
        order = order[~np.isin(order, avoid)]
        if not len(order) or k <= 0:
            return []
        order = distinct(pool, order, max(k, min(CANDIDATES * k, MOST_CANDIDATES)), avoid)
        if len(order) > k:
            order = order[spread_out(unit_rows(pool.x[order]), k, rng)]
        return [int(row) for row in order]
