"""The default strategy: k-means while nothing can be predicted, then uncertainty herding."""

from model.arrays import Indices
from model.selection.registry import STRATEGIES, Pool

NAME = "auto"
START = "kmeans"
# With few labels it spreads over the pool, with more it prefers uncertain images: one strategy for
# all budgets.
LATER = "herding"


@STRATEGIES.register(NAME)
class Auto:
    """The strategy `auto`. It needs no predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose by the strategy that `scheduled` names."""
        return STRATEGIES.get(scheduled(pool))().choose(pool, k, avoid)


def scheduled(pool: Pool) -> str:
    """The name of the strategy for this pool."""
    return LATER if pool.probabilities else START
