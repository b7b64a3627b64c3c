"""What `auto` is: a schedule over strategies by the number of labels and by what has worked."""

import numpy as np
from numpy.typing import NDArray

from model.selection.registry import STRATEGIES, Pool

NAME = "auto"
START = "kmeans"


@STRATEGIES.register(NAME)
class Auto:
    """The strategy `auto`. It works with and without predictions."""

    def choose(self, pool: Pool, k: int, avoid: NDArray[np.intp]) -> list[int]:
        """As the strategy chooses that `scheduled` names."""
        return STRATEGIES.get(scheduled(pool))().choose(pool, k, avoid)


def scheduled(pool: Pool) -> str:
    """The strategy whose turn it is."""
    return "margin" if pool.controls else START
