"""Bounds for a mean that hold at every moment, however often they are looked at.

A bound that is tested again after each item is no Clopper–Pearson bound any more. These are: a
gambler who bets against "the mean is at most m" has, in the long run, at most what they began with
if it is true, and at any time more than 1/α times as much with probability at most α (Ville 1939;
Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024).
The stakes are a fixed mixture, so that the bound depends on the values and not on their order. Of
answers that are right or wrong each stake is a likelihood ratio, against errors being the fraction
f as frequent: all right, it takes 67 of them to show 5% of errors at most (Clopper and Pearson's
single look takes 59).
"""

from functools import cache

import numpy as np

from model.arrays import Bools, Float64s, Floats, Indices
from model.statistics.intervals import LEVEL, Estimate

Values = Floats | Bools

# Each stake is made for errors that are this fraction as frequent as at the mean that is tested.
FRACTIONS = np.array([0.0, 0.03, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.82, 0.9, 0.95, 0.98])
NONE_WEIGHT = 0.5  # of the stake on no errors at all; the others share the rest
WEIGHTS = np.full(len(FRACTIONS), (1 - NONE_WEIGHT) / (len(FRACTIONS) - 1))
WEIGHTS[0] = NONE_WEIGHT
MOST_ITEMS = 2**40  # a target that takes more is out of reach
STEPS = 24  # bisections: bounds are exact to 1e-7


def lower_bound(values: Values, *, alpha: float) -> float:
    """What the mean of `values` [n], each in [0, 1], is above with probability 1 − `alpha`.

    The values must have one expectation given those before them; nothing else of how they are
    drawn matters. The bound may be looked at after each of them.
    """
    y, times = np.unique(np.clip(np.asarray(values, np.float64), 0, 1), return_counts=True)
    low, high = 0.0, 1.0
    if not len(y):
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _log_wealth(y, times, middle) >= -np.log(alpha):
            low = middle
        else:
            high = middle
    return low


def is_below(values: Values, limit: float, *, alpha: float) -> bool:
    """Whether `upper_bound` of `values` [n] is at most `limit`, in (0, 1), for less work."""
    y, times = np.unique(1 - np.asarray(values, np.float64), return_counts=True)
    return bool(_log_wealth(y, times, 1 - limit) >= -np.log(alpha))


def _log_wealth(y: Float64s, times: Indices, m: float) -> float:
    """What betting against a mean of at most `m` came to on y [K], each so many `times` [K]."""
    factors = FRACTIONS[:, None] + (1 - FRACTIONS[:, None]) * y / m
    with np.errstate(divide="ignore"):
        wealth = np.log(WEIGHTS) + np.log(factors) @ times
    return float(np.logaddexp.reduce(wealth))


def upper_bound(values: Values, *, alpha: float) -> float:
    """What the mean of `values` [n] in [0, 1] is below with probability 1 − `alpha`; see above."""
    return 1 - lower_bound(1 - np.asarray(values, np.float64), alpha=alpha)


def mean_interval(values: Values, *, level: float = LEVEL) -> Estimate:
    """The mean of `values` [n] in [0, 1] with its two-sided interval at `level`; [0, 1] of none."""
    if not len(values):
        return Estimate(0.5, 0.0, 1.0, 0)
    each = (1 - level) / 2
    value = float(np.mean(values))
    low, high = lower_bound(values, alpha=each), upper_bound(values, alpha=each)
    return Estimate(value, min(low, value), max(high, value), len(values))


@cache
def least_items(target: float, alpha: float) -> int:
    """How many items without any error it takes to show that at most `target` of all are wrong."""

    def suffice(n: int) -> bool:
        return bool(_log_wealth(np.ones(1), np.array([n]), 1 - target) >= -np.log(alpha))

    most = 1
    while most < MOST_ITEMS and not suffice(most):
        most *= 2
    least = most // 2  # too few
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if suffice(middle) else (middle, most)
    return most
