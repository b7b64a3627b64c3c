"""How far a measured number can be trusted: a value with a 95% interval.

Shares of right answers have Wilson's interval (Probable inference, JASA 1927): a bootstrap of
answers that are all right would claim certainty. Everything else is bootstrapped, whole groups of
near-duplicates at a time (percentile intervals; Efron, Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 13).
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Floats

LEVEL = 0.95

MOST_DRAWS, LEAST_DRAWS = 1000, 100
WORK = 20_000_000  # rows over all draws: what bounds the time and the memory of a bootstrap


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval. Of a share: 0 to 1."""

    value: float
    low: float
    high: float
    n: int  # answers that it was measured on


def share(right: Bools, *, level: float = LEVEL) -> Estimate:
    """The share of `right` [N] with its two-sided Wilson score interval at `level`.

    N must be at least one.
    """
    n = len(right)
    if n == 0:
        raise ValueError("The accuracy of no answers at all is unknown.")
    value = float(np.mean(right))
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * float(np.sqrt(value * (1 - value) / n + z * z / (4 * n * n)))
    # At 0 and 1 a bound is the share itself, but for rounding.
    return Estimate(value, max(middle - reach, 0.0), min(middle + reach, 1.0), n)


def resamples(
    n: int, *, seed: int, groups: NDArray[np.generic] | None = None, cost: int = 1
) -> Float32s:
    """How often each of `n` rows is drawn, for each draw of a bootstrap: [draws, n].

    Rows of equal `groups` [n] are drawn together. `cost` is what one row takes, relative to a sum:
    where it is large, there are fewer draws.
    """
    if n == 0:
        raise ValueError("Nothing can be drawn from no rows at all.")
    _, group = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    count = int(group.max()) + 1
    draws = min(max(WORK // (n * cost), LEAST_DRAWS), MOST_DRAWS)
    rng = np.random.default_rng(seed)
    times = np.empty((draws, n), np.float32)
    for draw in range(draws):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)
        times[draw] = drawn[group]
    return times


def interval(value: float, drawn: Floats, n: int, *, level: float = LEVEL) -> Estimate:
    """`value`, measured on `n` rows, with the interval of its bootstrap replicates [draws].

    Replicates that hold no number (nothing of a class was drawn) are left out.
    """
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Estimate(value, value, value, n)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), n)


def bootstrapped_mean(values: Floats, times: Float32s, *, level: float = LEVEL) -> Estimate:
    """The mean of `values` [N] with its bootstrap interval, of `times` [draws, N]."""
    values = np.asarray(values, np.float64)
    drawn = (times @ values) / times.sum(axis=1)
    return interval(float(values.mean()), drawn, len(values), level=level)
