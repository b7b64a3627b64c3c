"""Chance: what every other strategy must beat."""

import numpy as np

from model.arrays import Indices
from model.selection.geometry import distinct, drawn_from
from model.selection.registry import STRATEGIES, Pool


@STRATEGIES.register("random")
class Chance:
    """The strategy `random`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Rows drawn uniformly, without the second of two near-duplicates."""
        free, _ = drawn_from(pool, avoid, len(pool.x), np.random.default_rng(pool.seed))
        return [int(row) for row in distinct(pool, free, k, avoid)]
