"""Margin sampling with diversity: the most uncertain images, spread over clusters.

Clustering the candidates avoids batches of similar images (Zhdanov, Diverse mini-batch active
learning, 2019).
"""

import numpy as np

from model.arrays import Indices
from model.selection.geometry import diverse_rows, unit_rows, without_duplicates
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool

NAME = "margin"

CANDIDATES = 8  # times k, of least margin
MOST_CANDIDATES = 4000


@STRATEGIES.register(NAME)
class MarginSampling:
    """The strategy `margin`. It needs predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose the image of least margin in each of k clusters, least margin first."""
        if not pool.probabilities:
            raise NeedsPredictionsError("Choosing by margin needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        margin = -pool.uncertainty
        # Margins are often equal with few labels: ties are random, not in the order of rows.
        order = np.lexsort((rng.random(len(margin)), margin))
        order = order[~np.isin(order, avoid)]
        if not len(order) or k <= 0:
            return []
        order = without_duplicates(pool, order, max(k, min(CANDIDATES * k, MOST_CANDIDATES)), avoid)
        if len(order) > k:
            order = order[diverse_rows(unit_rows(pool.x[order]), k, rng)]
        return [int(row) for row in order]
