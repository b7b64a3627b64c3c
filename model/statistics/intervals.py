"""Confidence intervals of accuracies (Wilson) and of other metrics (bootstrap).

Accuracies have Wilson's interval (Probable inference, JASA 1927): a bootstrap of answers that are
all correct would have no width. Other metrics are bootstrapped, whole groups of near-duplicates at
a time (percentile intervals; Efron, Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Floats

LEVEL = 0.95

MOST_DRAWS, LEAST_DRAWS = 1000, 100
MOST_ROWS = 20_000_000  # over all draws: bounds the time and the memory of a bootstrap


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% confidence interval; shares are 0 to 1."""

    value: float
    low: float
    high: float
    n: int  # sample size


def wilson_interval(right: Bools, *, level: float = LEVEL) -> Estimate:
    """The share of true values in `right` [N], with its two-sided Wilson score interval at `level`.

    Raises ValueError if N is 0.
    """
    n = len(right)
    if n == 0:
        raise ValueError("The accuracy of no answers at all is unknown.")
    value = float(np.mean(right))
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    margin = z / (1 + z * z / n) * float(np.sqrt(value * (1 - value) / n + z * z / (4 * n * n)))
    # At 0 and 1 a bound is the share itself, up to rounding.
    return Estimate(value, max(centre - margin, 0.0), min(centre + margin, 1.0), n)


def resamples(
    n: int, *, seed: int, groups: NDArray[np.generic] | None = None, cost: int = 1
) -> Float32s:
    """Draw bootstrap samples: how often each of `n` rows is drawn, [draws, n].

    Rows of equal `groups` [n] are drawn together. `cost` is the work for one row, relative to a
    sum: a large one makes fewer draws. Raises ValueError if n is 0.
    """
    if n == 0:
        raise ValueError("Nothing can be drawn from no rows at all.")
    _, group = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    count = int(group.max()) + 1
    draws = min(max(MOST_ROWS // (n * cost), LEAST_DRAWS), MOST_DRAWS)
    rng = np.random.default_rng(seed)
    times = np.empty((draws, n), np.float32)
    for draw in range(draws):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)
        times[draw] = drawn[group]
    return times


def interval(value: float, drawn: Floats, n: int, *, level: float = LEVEL) -> Estimate:
    """`value` of `n` rows with the percentile interval of its bootstrap replicates `drawn` [draws].

    Replicates that are NaN (no row of a class was drawn) are left out.
    """
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return Estimate(value, value, value, n)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), n)


def bootstrapped_mean(values: Floats, times: Float32s, *, level: float = LEVEL) -> Estimate:
    """The mean of `values` [N] with its bootstrap interval; `times` [draws, N] are the samples."""
    values = np.asarray(values, np.float64)
    drawn = (times @ values) / times.sum(axis=1)
    return interval(float(values.mean()), drawn, len(values), level=level)
