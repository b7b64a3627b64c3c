"""What `auto` is: a schedule over strategies by the number of labels and by what has worked."""

import numpy as np
from numpy.typing import NDArray

from model.selection.registry import STRATEGIES, Pool

NAME = "auto"
START = "kmeans"
SCHEDULE = ("herding", "margin")  # the first is taken unless it was seen to fail here
FALLBACK = "random"

# A strategy is given up where its picks are worth less than random ones by so many standard errors
# of the difference, measured on at least so many picks.
ERRORS = 2.0
LEAST_PICKS = 50


@STRATEGIES.register(NAME)
class Auto:
    """The strategy `auto`. It works with and without predictions."""

    def choose(self, pool: Pool, k: int, avoid: NDArray[np.intp]) -> list[int]:
        """As the strategy chooses that `scheduled` names."""
        return STRATEGIES.get(scheduled(pool))().choose(pool, k, avoid)


def scheduled(pool: Pool) -> str:
    """The strategy whose turn it is."""
    if not pool.controls:
        return START
    return next((name for name in SCHEDULE if not _fails(pool, name)), FALLBACK)


def _fails(pool: Pool, name: str) -> bool:
    arm = pool.arms.get(name)
    return arm is not None and arm.picks >= LEAST_PICKS and arm.gain < -ERRORS * arm.error
