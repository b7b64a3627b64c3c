"""Confidence sequences of a model's accuracy, narrowed by the confidence that it has everywhere.

Images are drawn uniformly from a pool, and it is found out on which of them the model is right. Its
confidence is known for all images of the pool. A gambler who takes each image x to be right with
probability q(x) bets against "the pool's accuracy is m": the stake on a draw is its likelihood
ratio q/p if right, (1 − q)/(1 − p) if wrong, against the p that is nearest to q among all of mean m
(the reverse information projection: Grünwald, de Heide, Koolen, Safe testing, JRSS B 2024). That p
has q − p = η·p·(1 − p) with one η for all images. So with D² = (1 + η − 2q)² + 4q(1 − q) the ratio
is (1 + η + D)/2 if right and (1 − η + D)/2 if wrong: a bet on the share of right ones with D as a
control variate. Its expected value depends on m and the mean of D over the pool alone, so that it
is 1 whatever the model's confidences are worth; good ones narrow the interval (prediction-powered
inference: Angelopoulos et al., Science 2023). The wealth exceeds 1/α at any time with probability
at most α (Ville 1939), so the interval of all m whose wealth stays below holds at every look. The
gambler's wealth is spread over predictions that are shifted, since a confidence may be too high or
too low, and over predictions that are the same for all images, since it may say nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np

from model.arrays import Bools, Float64s, Floats, Indices
from model.statistics.intervals import LEVEL, Estimate

# Alternatives: predictions whose logits are shifted by so much, ...
SHIFTS = np.array([-4.0, -2.5, -1.5, -0.9, -0.45, 0.0, 0.45, 0.9, 1.5, 2.5, 4.0])
# ... most of the weight around here: models that are calibrated on labels chosen for being hard are
# underconfident elsewhere, by 0.1 to 0.9 in simulated projects ...
USUAL_SHIFT = 0.35
SHIFT_SCALE = 0.35  # standard deviation
EVEN = 0.07  # the share of the weight that is the same for all shifts
# ... and the same probability for all images, for confidences that say nothing.
SAME = np.array([0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.75, 0.83, 0.9, 0.95, 0.98])
SAME_WEIGHT = 0.05  # of all of them

SUREST = 0.998  # predictions are clipped to this, and to one minus it
NEWTON_STEPS = 5
BISECTIONS = 11  # bounds are exact to 5e-4, and rounded outwards
GRID = 65  # accuracies that are tried where the estimate is none of those that hold
ROUNDING = 1e-6  # of accuracies
TINY = 1e-300


@dataclass(frozen=True)
class PoolDraws:
    """Images drawn uniformly, each from the pool of those that were open at the time.

    Of the P pools: `shares` [P, S] of each stratum of images, summing to 1, the number of `open`
    images [P], and on how many of all other images the model is right, `known_right` [P]. Of the n
    draws: their `pool` [n], their `stratum` [n], and whether the model is `right` [n].
    """

    images: int  # in and outside the pools
    shares: Floats
    open: Floats
    known_right: Floats
    pool: Indices
    stratum: Indices
    right: Bools

    def pool_accuracy(self, accuracy: float) -> Float64s:
        """The accuracy [P] on each pool if that on all images is `accuracy`."""
        found: Float64s = (accuracy * self.images - self.known_right) / self.open
        return found


def accuracy_interval(draws: PoolDraws, predicted: Floats, *, level: float = LEVEL) -> Estimate:
    """The accuracy on all images with its interval at `level`, valid at every look.

    Args:
        predicted: [S] how probable the model takes it to be that it is right in each stratum.
    """
    low, high = _possible(draws)
    value = min(max(_difference_estimate(draws, predicted), low), high)
    limit = -log(1 - level)

    def holds(accuracy: float) -> bool:
        return log_wealth(draws, predicted, accuracy) < limit

    inside = value
    if not holds(inside):  # few draws, far from what is predicted
        grid = np.linspace(low, high, GRID).tolist()
        inside = min(grid, key=lambda accuracy: log_wealth(draws, predicted, accuracy))
    low, high = (_boundary(holds, inside, end) for end in (low, high))
    return Estimate(min(max(value, low), high), low, high, len(draws.right))


def log_wealth(draws: PoolDraws, predicted: Floats, accuracy: float) -> float:
    """The log of the wealth, 0 at first, after bets against "the accuracy on all images is this".

    If it is, the wealth is no greater after a draw than before, on average.

    Args:
        predicted: [S] as for `accuracy_interval`.
    """
    mean = draws.pool_accuracy(accuracy)[:, None]
    if ((mean < -ROUNDING) | (mean > 1 + ROUNDING)).any():
        return np.inf
    mean = np.clip(mean, ROUNDING, 1 - ROUNDING)
    q, weights = _alternatives(predicted)
    eta = _tilt(q, draws.shares, mean)
    d = _discriminant(eta, q)
    expected = 1 + np.einsum("pks,ps->pk", d, draws.shares) + eta * (2 * mean - 1)
    sign = 2.0 * draws.right[:, None] - 1
    stakes = 1 + d[draws.pool, :, draws.stratum] + eta[draws.pool] * sign
    growth = np.log(np.maximum(stakes, TINY) / expected[draws.pool]).sum(axis=0)
    return float(np.logaddexp.reduce(growth + np.log(weights)))


def _possible(draws: PoolDraws) -> tuple[float, float]:
    """The range of accuracies that what is known of the images outside the pools leaves open."""
    low = float(draws.known_right.max(initial=0.0)) / draws.images
    high = float((draws.known_right + draws.open).min(initial=draws.images)) / draws.images
    return low, max(low, high)


def _difference_estimate(draws: PoolDraws, predicted: Floats) -> float:
    """The mean over draws of: known right + open · (mean prediction + right − prediction)."""
    means = draws.shares @ predicted
    if not len(draws.right):
        return float(np.mean((draws.known_right + draws.open * means) / draws.images))
    share = means[draws.pool] + draws.right - predicted[draws.stratum]
    found = draws.known_right[draws.pool] + draws.open[draws.pool] * share
    return float(np.mean(found / draws.images))


def _alternatives(predicted: Floats) -> tuple[Float64s, Float64s]:
    """Predictions [K, S] that are bet on, and their weights [K]."""
    predicted = np.clip(np.asarray(predicted, np.float64), 1 - SUREST, SUREST)
    logits = np.log(predicted) - np.log1p(-predicted)
    shifted = 1 / (1 + np.exp(-logits - SHIFTS[:, None]))
    near = np.exp(-0.5 * ((SHIFTS - USUAL_SHIFT) / SHIFT_SCALE) ** 2)
    weights = (1 - EVEN) * near / near.sum() + EVEN / len(SHIFTS)
    same = np.repeat(SAME[:, None], len(predicted), axis=1)
    same_weights = np.full(len(SAME), SAME_WEIGHT / len(SAME))
    return np.concatenate([shifted, same]), np.concatenate(
        [(1 - SAME_WEIGHT) * weights, same_weights]
    )


def _discriminant(eta: Floats, q: Floats) -> Float64s:
    """D [P, K, S] for tilts [P, K] and predictions [K, S]."""
    found: Float64s = np.sqrt((eta[:, :, None] + 1 - 2 * q) ** 2 + 4 * q * (1 - q))
    return found


def _tilt(q: Float64s, shares: Floats, mean: Floats) -> Float64s:
    """The η [P, K] that takes predictions [K, S] to the mean [P, 1] in the pools.

    It is a root of mean D − 1 − η(1 − 2·mean), which is convex in η. Its other root is 0; Newton's
    method starts beyond the one that is looked for, so that each step comes closer.
    """
    q_mean = shares @ q.T
    above = q_mean > mean
    eta: Float64s = np.where(above, q_mean / mean, -(1 - q_mean) / (1 - mean))
    for _ in range(NEWTON_STEPS):
        d = _discriminant(eta, q)
        value = np.einsum("pks,ps->pk", d, shares) - 1 - eta * (1 - 2 * mean)
        slope = np.einsum("pks,ps->pk", (eta[:, :, None] + 1 - 2 * q) / d, shares) - (1 - 2 * mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.nan_to_num(value / slope, nan=0.0, posinf=0.0, neginf=0.0)
        eta = np.where(above, np.maximum(eta - step, 0), np.minimum(eta - step, 0))
    return eta


def _boundary(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where `holds` ends between a point inside and one outside, rounded outwards."""
    if holds(outside):
        return outside
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return outside
