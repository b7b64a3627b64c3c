"""What `auto` is: first what covers the pool, then what covers the doubt that is left."""

from model.arrays import Indices
from model.selection.registry import STRATEGIES, Pool

NAME = "auto"
START = "kmeans"
# While labels are few it spreads over the pool, as they grow it turns to what is in doubt: one
# strategy for all later budgets.
LATER = "herding"


@STRATEGIES.register(NAME)
class Auto:
    """The strategy `auto`. It works with and without predictions."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """As the strategy chooses that `scheduled` names."""
        return STRATEGIES.get(scheduled(pool))().choose(pool, k, avoid)


def scheduled(pool: Pool) -> str:
    """The strategy whose turn it is."""
    return LATER if pool.controls else START
