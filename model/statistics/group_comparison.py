"""Compares two groups: the difference of their times, and of their shares."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from model.arrays import Float64s, Floats
from model.statistics.intervals import LEVEL, Estimate

LEAST = 5  # times in each group
LONGEST = 900.0  # seconds; a task that is open for longer was open during a break


def geometric_mean(seconds: Floats) -> float:
    """The geometric mean of times [N], all above 0; robust to a few long ones."""
    return float(np.exp(np.log(seconds).mean()))


def without_breaks(seconds: Sequence[float | None]) -> Float64s:
    """The measured times that include no break: above 0, at most LONGEST."""
    measured = np.array([time for time in seconds if time is not None], np.float64)
    return measured[(measured > 0) & (measured <= LONGEST)]


def time_saved(helped: Floats, alone: Floats, *, level: float = LEVEL) -> Estimate | None:
    """The geometric mean of times `alone` [M] minus that of times `helped` [N], all above 0.

    Its interval is by the delta method: the variance of exp(mean of logs) is its square times the
    variance of the mean. None with fewer than LEAST times in a group. `n` is that of the smaller
    group.
    """
    if min(len(helped), len(alone)) < LEAST:
        return None
    means = [geometric_mean(alone), geometric_mean(helped)]
    variance = sum(
        mean**2 * float(np.log(times).var(ddof=1)) / len(times)
        for mean, times in zip(means, (alone, helped), strict=True)
    )
    margin = NormalDist().inv_cdf((1 + level) / 2) * variance**0.5
    value = means[0] - means[1]
    return Estimate(value, value - margin, value + margin, min(len(helped), len(alone)))


def difference_of_shares(first: Estimate, second: Estimate) -> Estimate:
    """The first share minus the second, -1 to 1; both have Wilson's interval.

    With Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method 10), at the level
    of the two.
    """
    value = first.value - second.value
    below = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    above = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return Estimate(value, value - below, value + above, min(first.n, second.n))
