"""Learning curves: accuracy by number of labels, extrapolated.

The curve is an inverse power law, accuracy(n) = a − b·n^(−c) (Figueroa et al., Predicting sample
size required for classification performance, BMC Medical Informatics and Decision Making 2012).
It is fitted to what models say that were trained on the first n labels, for several n, each time of
the same images and never of ones that they were trained on. So the history of chosen labels is
kept, and what was measured on other images at other times does not blur it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.arrays import Bools, Float64s, Ints
from model.statistics.intervals import LEVEL, Estimate

POINTS = 6
GROWTH = 1.5  # between sizes
LEAST_LABELS = 20  # of the smallest size; below twice as many there is no curve
EXPONENTS = np.array([0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5])
REPLICATES = 300
MOST_LABELS = 10_000_000

# Fits on these rows and says of others whether it is right: (training rows, asked rows) -> [asked].
Answers = Callable[[Ints, Ints], Bools]


@dataclass(frozen=True)
class Curve:
    """Replicates of a, b, c [R, 3]; the first is the best fit, the others its uncertainty."""

    sizes: tuple[int, ...]
    accuracy: tuple[float, ...]
    replicates: Float64s
    asked: int  # images that it was measured on

    def gain(self, labels: int, more: int, *, level: float = LEVEL) -> Estimate:
        """The accuracy that `more` labels add to `labels`; never less than nothing."""
        _, b, c = self.replicates.T
        gains = b * (labels**-c - (labels + more) ** -c)
        low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2])
        value = float(gains[0])
        return Estimate(value, min(float(low), value), max(float(high), value), self.asked)

    def limit(self, *, level: float = LEVEL) -> Estimate:
        """The accuracy that endless labels of this kind would lead to."""
        a = self.replicates[:, 0]
        low, high = np.quantile(a, [(1 - level) / 2, (1 + level) / 2])
        value = float(a[0])
        return Estimate(value, min(float(low), value), max(float(high), value), self.asked)

    @property
    def rise(self) -> tuple[float, float]:
        """b and c of the best fit."""
        _, b, c = self.replicates[0]
        return float(b), float(c)


def labels_for(rise: tuple[float, float], labels: int, missing: float) -> int | None:
    """The number of labels that gains `missing` on `labels`, by a curve's `rise`; None if none."""
    b, c = rise
    if missing <= 0:
        return labels
    left = b * labels**-c - missing
    if left <= 0:
        return None
    needed = (b / left) ** (1 / c)
    return int(np.ceil(needed)) if needed < MOST_LABELS else None


def sizes_of(labels: int) -> tuple[int, ...]:
    """The numbers of labels that are tried, up to all `labels`; none when there are too few."""
    sizes = [labels]
    while len(sizes) < POINTS and sizes[-1] / GROWTH >= LEAST_LABELS:
        sizes.append(int(sizes[-1] / GROWTH))
    return tuple(reversed(sizes)) if len(sizes) >= 3 else ()


def measure(
    answers: Answers, order: Ints, folds: Ints, asked: Ints
) -> tuple[tuple[int, ...], Bools]:
    """Measure accuracy by number of labels: the sizes [K], and who is right [K, E].

    `order` [N] are the rows as they were labelled, `folds` [N] the fold of each row, and `asked`
    [E] those on which it is measured: each by a model that has not seen its fold.
    """
    sizes = sizes_of(len(order))
    right = np.zeros((len(sizes), len(asked)), np.bool_)
    count = int(folds.max(initial=0)) + 1
    for index, size in enumerate(sizes):
        known = order[:size]
        for fold in range(count):
            held = folds[asked] == fold
            if held.any():
                right[index, held] = answers(known[folds[known] != fold], asked[held])
    trained_on = (1 - 1 / count) if count > 1 else 1.0
    return tuple(max(int(size * trained_on), 1) for size in sizes), right


def fit_curve(sizes: tuple[int, ...], right: Bools, *, seed: int) -> Curve | None:
    """The curve through accuracies at `sizes` [K], measured on the same E images: `right` [K, E].

    Its uncertainty is that of the images (they are drawn anew) and of the models (what the fit
    leaves over is drawn anew). None from fewer than three sizes, or without images.
    """
    if len(sizes) < 3 or not right.shape[1]:
        return None
    rng = np.random.default_rng(seed)
    n = np.array(sizes, np.float64)
    measured = right.mean(axis=1)
    best = _fit(n, measured[None])
    left_over = measured - _curve(n, best)[0]
    spread = float(np.sqrt(np.square(left_over).sum() / max(len(n) - 2, 1)))
    spread = max(spread, 0.25 * float(np.sqrt(measured[-1] * (1 - measured[-1]) / right.shape[1])))
    times = rng.multinomial(
        right.shape[1], np.full(right.shape[1], 1 / right.shape[1]), size=REPLICATES
    )
    drawn = times @ right.T.astype(np.float64) / right.shape[1]
    drawn += rng.normal(scale=spread, size=drawn.shape)
    replicates = np.concatenate([best, _fit(n, drawn)])
    return Curve(sizes, tuple(float(v) for v in measured), replicates, right.shape[1])


def _curve(n: Float64s, abc: Float64s) -> Float64s:
    a, b, c = (column[:, None] for column in abc.T)
    found: Float64s = a - b * n[None] ** -c
    return found


def _fit(n: Float64s, accuracy: Float64s) -> Float64s:
    """Least squares [R, 3] for accuracies [R, K] with a ≤ 1 and b ≥ 0; many labels weigh more."""
    w = np.sqrt(n) / np.sqrt(n).sum()
    best = np.zeros((len(accuracy), 3))
    least = np.full(len(accuracy), np.inf)
    for c in EXPONENTS:
        z = n**-c
        mean_z, mean_y = float(w @ z), accuracy @ w
        variance = float(w @ np.square(z - mean_z))
        b = np.maximum(-((accuracy - mean_y[:, None]) * (z - mean_z)) @ w / variance, 0)
        a = mean_y + b * mean_z
        above = a > 1  # then the curve ends at 1, and b alone is free
        b = np.where(above, np.maximum((1 - accuracy) @ (w * z) / (w @ np.square(z)), 0), b)
        a = np.where(above, 1.0, a)
        errors = np.square(accuracy - (a[:, None] - b[:, None] * z)) @ w
        better = errors < least
        best[better] = np.stack([a, b, np.full(len(a), c)], axis=1)[better]
        least = np.minimum(errors, least)
    return best
