"""Two groups compared: how much faster people are in one, how much more often they agree in it."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from model.arrays import Float64s, Floats
from model.statistics.intervals import LEVEL, Estimate

LEAST = 5  # times in each group: of fewer nothing is said
LONGEST = 900.0  # seconds; a task that was open for longer lay open in a break


def typical(seconds: Floats) -> float:
    """The geometric mean of times [N], all above 0: what a few long ones hardly change."""
    return float(np.exp(np.log(seconds).mean()))


def usable(seconds: Sequence[float | None]) -> Float64s:
    """Those that were measured and are no break."""
    known = np.array([time for time in seconds if time is not None], np.float64)
    return known[(known > 0) & (known <= LONGEST)]


def time_saved(helped: Floats, alone: Floats, *, level: float = LEVEL) -> Estimate | None:
    """Typical seconds that are saved: of times `alone` [M] less those `helped` [N], all above 0.

    A difference of geometric means; its interval by the delta method, in which the variance of
    exp(mean of logs) is its square times the mean's. None with fewer than LEAST in a group. The
    measure's `n` is that of the smaller group.
    """
    if min(len(helped), len(alone)) < LEAST:
        return None
    means = [typical(alone), typical(helped)]
    variance = sum(
        mean**2 * float(np.log(times).var(ddof=1)) / len(times)
        for mean, times in zip(means, (alone, helped), strict=True)
    )
    reach = NormalDist().inv_cdf((1 + level) / 2) * variance**0.5
    value = means[0] - means[1]
    return Estimate(value, value - reach, value + reach, min(len(helped), len(alone)))


def more_often(first: Estimate, second: Estimate) -> Estimate:
    """How much larger the first share is than the second, -1 to 1, both with Wilson's interval.

    Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method 10), at the level of
    the two.
    """
    value = first.value - second.value
    below = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    above = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return Estimate(value, value - below, value + above, min(first.n, second.n))
