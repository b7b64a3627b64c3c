"""Temperature scaling of logits, and the calibration error.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
"""

from collections.abc import Callable
from math import erf, exp, pi, sqrt

import numpy as np

from model.arrays import Bools, Float32s, Floats, Ints

LOWEST, HIGHEST = 0.05, 20.0  # temperatures

# Heads choose their penalty by the log-loss of held-out rows, which leaves the temperature near 1.
# The scale of a Cauchy prior on log(temperature): it damps the noise of 200 rows and hardly changes
# a temperature that is far off.
PRIOR_SCALE = 0.05
MIN_ROWS = 5
BINS = 15  # of the calibration error, with equally many rows each
COARSE = 13  # temperatures of the grid search, 1 among them
STEPS = 15  # of the golden-section search between them: within 0.1%

_GOLDEN = (5**0.5 - 1) / 2


def softmax(logits: Floats, *, temperature: float = 1.0) -> Float32s:
    """Probabilities [N, C] of logits [N, C]; −inf gives exactly 0."""
    scaled: Float32s = np.asarray(logits, np.float32) / np.float32(temperature)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(logits: Floats, y: Ints) -> float:
    """The temperature of least log-loss for out-of-fold logits [N, C] and class indices y [N].

    Rows with NaN, or with −inf for the true class, are left out; with fewer than MIN_ROWS left it
    is 1.
    """
    logits = np.asarray(logits, np.float64)
    truth = logits[np.arange(len(y)), y]
    usable = np.isfinite(truth) & ~np.isnan(logits).any(axis=1)
    if np.count_nonzero(usable) < MIN_ROWS:
        return 1.0
    # Relative to the truth: the loss of a row is log(sum(exp(gap / temperature))).
    gaps = logits[usable] - truth[usable, None]

    def loss(log_temperature: float) -> float:
        scaled = gaps / np.exp(log_temperature)
        top = scaled.max(axis=1)
        each = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float(each.sum()) + _prior(log_temperature)

    return float(np.exp(_minimise(loss)))


def sigmoid(logits: Floats, *, temperature: float = 1.0) -> Float32s:
    """Probabilities of logits of any shape, each by itself; −inf gives exactly 0."""
    scaled = np.asarray(logits, np.float32) / np.float32(temperature)
    probabilities: Float32s = np.exp(-np.logaddexp(np.float32(0), -scaled))
    return probabilities


def fit_sigmoid_temperature(logits: Floats, y: Floats) -> float:
    """The temperature of least log-loss for multi-label, out-of-fold logits [N, C].

    `y` [N, C] is 1 where a row has the class, 0 where not, NaN where it isn't labelled. With fewer
    than MIN_ROWS labelled rows of finite logits it is 1.
    """
    logits, y = np.asarray(logits, np.float64), np.asarray(y, np.float64)
    usable = np.isfinite(logits) & ~np.isnan(y)
    if np.count_nonzero(usable.any(axis=1)) < MIN_ROWS:
        return 1.0
    signed = np.where(y[usable] == 1, -1.0, 1.0) * logits[usable]

    def loss(log_temperature: float) -> float:
        each = np.logaddexp(0, signed / np.exp(log_temperature))
        return float(each.sum()) + _prior(log_temperature)

    return float(np.exp(_minimise(loss)))


def calibration_error(confidence: Floats, right: Bools, *, bins: int = BINS) -> float:
    """The debiased expected calibration error of confidences [N], `right` [N] being correctness.

    The mean over bins of equally many rows of |accuracy − mean confidence|. Even a perfect model
    has gaps in bins of a finite size. As in the code of Kumar, Liang, Ma (Verified Uncertainty
    Calibration, NeurIPS 2019) for this norm, the growth of a gap when the same normal noise is
    added once more is subtracted. NaN of no rows.
    """
    if len(confidence) == 0:
        return float("nan")
    order = np.argsort(confidence, kind="stable")
    total = 0.0
    for rows in np.array_split(order, min(bins, len(order))):
        share = float(right[rows].mean())
        gap = abs(share - float(confidence[rows].mean()))
        noise = sqrt(share * (1 - share) / len(rows))
        total += len(rows) * (2 * gap - _mean_of_folded(gap, noise))
    return max(total / len(order), 0.0)


def _mean_of_folded(mean: float, deviation: float) -> float:
    """The mean of |X| for a normal X."""
    if deviation == 0:
        return abs(mean)
    z = mean / deviation
    return deviation * sqrt(2 / pi) * exp(-z * z / 2) + mean * erf(z / sqrt(2))


def _prior(log_temperature: float) -> float:
    """Minus the log of the prior, up to a constant."""
    return float(np.log1p((log_temperature / PRIOR_SCALE) ** 2))


def _minimise(loss: Callable[[float], float]) -> float:
    """The log of the temperature of least loss: a grid search, then a golden-section search."""
    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), COARSE)
    best = int(np.argmin([loss(float(value)) for value in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, COARSE - 1)]
    return _golden_section(loss, float(low), float(high))


def _golden_section(loss: Callable[[float], float], low: float, high: float) -> float:
    """The minimum of `loss` between `low` and `high`, if it falls and then rises."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    for _ in range(STEPS):
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = loss(right)
    return (low + high) / 2
