"""From logits to probabilities that can be believed: one temperature. And how far they can.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
"""

from collections.abc import Callable
from math import erf, exp, pi, sqrt

import numpy as np

from model.arrays import Bools, Float32s, Floats, Ints

LOWEST, HIGHEST = 0.05, 20.0  # temperatures that are considered

# Heads choose their strength by the log-loss of held-out rows, which leaves the temperature near 1.
# A Cauchy prior of this scale on log(temperature) says so: 200 rows move it little within their own
# noise, while what is really off is found as if there were no prior.
PRIOR_SCALE = 0.05
MIN_ROWS = 5
BINS = 15  # of the calibration error, with equally many rows each
COARSE = 13  # temperatures that are tried first, 1 among them
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
        return float(each.sum()) + _prior(log_temperature)

    return float(np.exp(_least(loss)))


def sigmoid(logits: Floats, *, temperature: float = 1.0) -> Float32s:
    """Probabilities of logits, each of its own; −inf gives exactly 0."""
    scaled = np.asarray(logits, np.float32) / np.float32(temperature)
    probabilities: Float32s = np.exp(-np.logaddexp(np.float32(0), -scaled))
    return probabilities


def fit_sigmoid_temperature(logits: Floats, y: Floats) -> float:
    """The temperature of least log-loss for logits [N, C] of classes that don't exclude each other.

    `y` [N, C] is 1 where the class is there, 0 where not, NaN where nobody knows. Logits must be
    out of fold. With fewer than MIN_ROWS known and finite ones it is 1.
    """
    logits, y = np.asarray(logits, np.float64), np.asarray(y, np.float64)
    usable = np.isfinite(logits) & ~np.isnan(y)
    if np.count_nonzero(usable.any(axis=1)) < MIN_ROWS:
        return 1.0
    signed = np.where(y[usable] == 1, -1.0, 1.0) * logits[usable]

    def loss(log_temperature: float) -> float:
        each = np.logaddexp(0, signed / np.exp(log_temperature))
        return float(each.sum()) + _prior(log_temperature)

    return float(np.exp(_least(loss)))


def calibration_error(confidence: Floats, right: Bools, *, bins: int = BINS) -> float:
    """Expected calibration error of N confidences, its bias taken off as far as that can be.

    The mean over bins of equally many rows of |share of right answers − mean confidence|. Even a
    perfect model has gaps in bins of a finite size. As Kumar, Liang, Ma (Verified Uncertainty
    Calibration, NeurIPS 2019) do in their code for this norm, what a gap grows by when as much
    noise again is added, of the normal distribution, is subtracted. NaN of no rows.
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
    """Minus the log of the prior, but for a constant."""
    return float(np.log1p((log_temperature / PRIOR_SCALE) ** 2))


def _least(loss: Callable[[float], float]) -> float:
    """The log of the temperature of least loss."""
    tried = np.linspace(np.log(LOWEST), np.log(HIGHEST), COARSE)
    best = int(np.argmin([loss(float(value)) for value in tried]))
    low, high = tried[max(best - 1, 0)], tried[min(best + 1, COARSE - 1)]
    return _golden_section(loss, float(low), float(high))


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
