"""From logits to probabilities that can be believed: one temperature.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.05, 20.0  # temperatures that are considered

# With few rows the fit is held near 1, as if by a normal prior on log(temperature) of this width.
PRIOR_WIDTH = 1.0
MIN_ROWS = 5
STEPS = 25  # of the golden-section search: the temperature is found within 0.01%

_GOLDEN = (5**0.5 - 1) / 2


def softmax(logits: NDArray[np.floating], *, temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities [N, C] of logits [N, C]; −inf gives exactly 0."""
    scaled: NDArray[np.float32] = np.asarray(logits, np.float32) / np.float32(temperature)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(logits: NDArray[np.floating], y: NDArray[np.integer]) -> float:
    """The temperature of least log-loss for logits [N, C] that were out of fold, truth y [N].

    Rows whose true class has −inf, or that hold NaN, say nothing about it and are left out; with
    fewer than MIN_ROWS left it is 1.
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
        return float(each.sum()) + 0.5 * (log_temperature / PRIOR_WIDTH) ** 2

    return float(np.exp(_golden_section(loss, np.log(LOWEST), np.log(HIGHEST))))


def _golden_section(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where `loss` is least between `low` and `high`, if it falls and then rises."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    of_left, of_right = loss(left), loss(right)
    for _ in range(STEPS):
        if of_left < of_right:
            high, right, of_right = right, left, of_left
            left = high - _GOLDEN * (high - low)
            of_left = loss(left)
        else:
            low, left, of_left = left, right, of_right
            right = low + _GOLDEN * (high - low)
            of_right = loss(right)
    return (low + high) / 2
