"""Random sampling: the baseline of all strategies."""

import numpy as np

from model.arrays import Indices
from model.selection.geometry import random_subset, without_duplicates
from model.selection.registry import STRATEGIES, Pool


@STRATEGIES.register("random")
class RandomSampling:
    """The strategy `random`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Draw rows uniformly, without near-duplicates."""
        free, _ = random_subset(pool, avoid, len(pool.x), np.random.default_rng(pool.seed))
        return [int(row) for row in without_duplicates(pool, free, k, avoid)]
