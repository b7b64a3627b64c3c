"""Confidence sequences: bounds of a mean that stay valid when they are looked at after every item.

A Clopper–Pearson bound doesn't: it is valid for one look. These bounds are made by betting: the
wealth of a gambler who bets against "the mean is at most m" exceeds 1/α times its beginning, at any
time, with probability at most α if that is true (Ville 1939; Waudby-Smith and Ramdas, Estimating
means of bounded random variables by betting, JRSS B 2024). The stakes are a fixed mixture, so that
the bound depends on the values and not on their order. For values of 0 and 1 each stake is a
likelihood ratio, against errors that are a fraction f as frequent: it takes 67 items without an
error to show an error rate of at most 5% (59 for a single look by Clopper and Pearson).
"""

from functools import cache

import numpy as np

from model.arrays import Bools, Float64s, Floats, Indices

Values = Floats | Bools

# Each stake is made for errors that are this fraction as frequent as at the mean that is tested.
FRACTIONS = np.array([0.0, 0.03, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.82, 0.9, 0.95, 0.98])
NONE_WEIGHT = 0.5  # of the stake on no errors at all; the others share the rest
WEIGHTS = np.full(len(FRACTIONS), (1 - NONE_WEIGHT) / (len(FRACTIONS) - 1))
WEIGHTS[0] = NONE_WEIGHT
MOST_ITEMS = 2**40  # a target that needs more is unreachable
STEPS = 24  # bisections: bounds are exact to 1e-7


def lower_bound(values: Values, *, alpha: float) -> float:
    """The lower bound of the mean of `values` [n] in [0, 1], valid with probability 1 − `alpha`.

    All values must have the same expectation, given the values before them. The bound may be looked
    at after each of them.
    """
    y, counts = np.unique(np.clip(np.asarray(values, np.float64), 0, 1), return_counts=True)
    low, high = 0.0, 1.0
    if not len(y):
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _log_wealth(y, counts, middle) >= -np.log(alpha):
            low = middle
        else:
            high = middle
    return low


def upper_bound_is_below(values: Values, limit: float, *, alpha: float) -> bool:
    """Whether `upper_bound` of `values` [n] is at most `limit`, in (0, 1); for less work."""
    y, counts = np.unique(1 - np.asarray(values, np.float64), return_counts=True)
    return bool(_log_wealth(y, counts, 1 - limit) >= -np.log(alpha))


def _log_wealth(y: Float64s, counts: Indices, m: float) -> float:
    """The log of the wealth after betting against a mean of at most `m` on y [K], `counts` [K]."""
    factors = FRACTIONS[:, None] + (1 - FRACTIONS[:, None]) * y / m
    with np.errstate(divide="ignore"):
        wealth = np.log(WEIGHTS) + np.log(factors) @ counts
    return float(np.logaddexp.reduce(wealth))


def upper_bound(values: Values, *, alpha: float) -> float:
    """The upper bound of the mean of `values` [n] in [0, 1]; see `lower_bound`."""
    return 1 - lower_bound(1 - np.asarray(values, np.float64), alpha=alpha)


@cache
def items_needed(target: float, alpha: float) -> int:
    """The number of items without an error that show an error rate of at most `target`."""

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
