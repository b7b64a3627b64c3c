"""DropQuery: images whose answer changes when features are left out, spread over clusters.

Gupte, Aklilu, Nirschl, Yeung-Levy: Revisiting active learning in the era of vision foundation
models (TMLR 2024): dropout of 0.75, three passes, those whose passes disagree with the answer more
often than not, one for each of k clusters.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import clusters, distinct, drawn_from, finished, usual_rows
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool

NAME = "dropquery"

SUB_POOL = 10_000  # images looked at
DROPPED = 0.75  # of the features in a pass
PASSES = 3
CANDIDATES = 25  # times k


@STRATEGIES.register(NAME)
class DropQuery:
    """The strategy `dropquery`. It needs heads to ask."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """The image nearest to the centre of each cluster of those that heads waver on."""
        if pool.ask is None:
            raise NeedsPredictionsError("DropQuery asks the heads again; there are none.")
        rng = np.random.default_rng(pool.seed)
        free, others = drawn_from(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        wavering = _wavering(pool, free, rng)
        # Those that waver most first; where equally, chance decides.
        order = np.lexsort((rng.random(len(free)), -wavering))
        most = max(int((wavering >= 0.5).sum()), k)
        candidates = distinct(pool, free[order], min(most, CANDIDATES * k), avoid)
        if not len(candidates):  # all are near-duplicates of what is chosen already
            return []
        rows = usual_rows(pool, pool.x[candidates])
        cluster, distance = clusters(rows, k, rng)
        nearest = np.lexsort((distance, cluster))
        first = nearest[np.unique(cluster[nearest], return_index=True)[1]]
        first = first[np.argsort(-np.bincount(cluster)[cluster[first]], kind="stable")]
        return finished(pool, candidates[first], np.concatenate([free[order], others]), k, avoid)


def _wavering(pool: Pool, rows: Indices, rng: np.random.Generator) -> Float32s:
    """[n] the mean share of passes, over controls, whose answer is not the head's own."""
    assert pool.ask is not None
    x = np.asarray(pool.x[rows], np.float32)
    own = [p[rows].argmax(axis=1) for p in pool.controls]
    wavering = np.zeros(len(rows), np.float32)
    for _ in range(PASSES):
        kept = rng.random(x.shape, np.float32) >= DROPPED
        answers = pool.ask(x * kept / (1 - DROPPED))
        for before, after in zip(own, answers, strict=True):
            wavering += (after.argmax(axis=1) != before) / (PASSES * len(own))
    return wavering
