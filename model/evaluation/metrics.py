"""Metrics of predictions for unseen rows: of classes, several classes and numbers.

Each `plain()` is JSON for the registry and the API.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Float64s, Floats, Int64s, Ints
from model.statistics.calibration import calibration_error
from model.statistics.intervals import (
    Estimate,
    bootstrapped_mean,
    interval,
    resamples,
    wilson_interval,
)

LISTED_CLASSES = 100  # in `plain()`: of more, those with the lowest recall

Groups = NDArray[np.generic] | None


@dataclass(frozen=True)
class ClassMetrics:
    """One class. None where nothing can be said: never there, or never predicted."""

    name: str
    n: int  # rows that truly have it
    precision: Estimate | None  # of the rows that were said to have it, how many do
    recall: Estimate | None  # of the rows that have it, how many were said to
    average_precision: Estimate | None = None  # of several classes at once: of the order by score


@dataclass(frozen=True)
class SingleMetrics:
    """Of exactly one class a row."""

    accuracy: Estimate
    balanced_accuracy: Estimate  # the mean recall of the classes that are there
    classes: tuple[ClassMetrics, ...]
    confusion: Int64s  # [C, C]: rows of the class (first index), by what was said

    def plain(self) -> dict[str, Any]:
        """As JSON; the confusion matrix as [truth, said, rows] of its non-zero cells."""
        cells = [
            [int(t), int(p), int(self.confusion[t, p])] for t, p in np.argwhere(self.confusion)
        ]
        return {
            "accuracy": asdict(self.accuracy),
            "balanced_accuracy": asdict(self.balanced_accuracy),
            "by_class": _listed(self.classes),
            "confusion": cells,
        }


@dataclass(frozen=True)
class MultiMetrics:
    """Of any number of classes a row."""

    agreement: Estimate  # share of (row, known class) that is right
    exact: Estimate  # share of rows in which every known class is right
    mean_average_precision: Estimate | None  # None when no class is ever there
    classes: tuple[ClassMetrics, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        mean = self.mean_average_precision
        return {
            "agreement": asdict(self.agreement),
            "exact": asdict(self.exact),
            "mean_average_precision": None if mean is None else asdict(mean),
            "by_class": _listed(self.classes),
        }


@dataclass(frozen=True)
class NumberMetrics:
    """Of a number a row, in its own unit."""

    mean_absolute_error: Estimate
    of_guessing: float  # the mean absolute error of always saying the truths' median
    within: Estimate | None  # share of truths inside the interval that was given with the number

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "mean_absolute_error": asdict(self.mean_absolute_error),
            "of_guessing": self.of_guessing,
            "within": None if self.within is None else asdict(self.within),
        }


def single_label(
    y: Ints,
    predicted: Ints,
    classes: tuple[str, ...],
    *,
    groups: Groups = None,
    seed: int = 0,
) -> SingleMetrics:
    """Of truth `y` [N] and `predicted` [N], indices into `classes`; N at least one."""
    count = len(classes)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (y, predicted), 1)
    right = predicted == y
    times = resamples(len(y), seed=seed, groups=groups)
    return SingleMetrics(
        accuracy=wilson_interval(right),
        balanced_accuracy=_balanced(y, right, times),
        classes=tuple(
            ClassMetrics(
                name,
                int(confusion[index].sum()),
                _share_of(int(confusion[index, index]), int(confusion[:, index].sum())),
                _share_of(int(confusion[index, index]), int(confusion[index].sum())),
            )
            for index, name in enumerate(classes)
        ),
        confusion=confusion,
    )


def multi_label(
    y: Floats,
    p: Floats,
    classes: tuple[str, ...],
    *,
    threshold: float = 0.5,
    groups: Groups = None,
    seed: int = 0,
) -> MultiMetrics:
    """Of truth `y` [N, C], 1 where the class is there, 0 where not, NaN where nobody knows.

    `p` [N, C] are scores, of which `threshold` and more say that the class is there. At least one
    truth must be known.
    """
    known = ~np.isnan(y)
    rows = known.any(axis=1)
    if not rows.any():
        raise ValueError("The accuracy of no answers at all is unknown.")
    y, p, known = y[rows], p[rows], known[rows]
    groups = None if groups is None else groups[rows]
    there, said = (y == 1) & known, (p >= threshold) & known
    right = there == said
    times = resamples(len(y), seed=seed, groups=groups, cost=4 * len(classes))
    each = known.sum(axis=1)
    agreed = (right & known).sum(axis=1)
    drawn = (times @ agreed) / (times @ each)
    orders = [
        _average_precision(there[known[:, c], c], p[known[:, c], c], times[:, known[:, c]])
        for c in range(len(classes))
    ]
    return MultiMetrics(
        agreement=interval(float(agreed.sum() / each.sum()), drawn, int(each.sum())),
        exact=wilson_interval((right | ~known).all(axis=1)),
        mean_average_precision=_mean_average_precision(orders, len(y)),
        classes=tuple(
            ClassMetrics(
                name,
                int(there[:, c].sum()),
                _share_of(int((there & said)[:, c].sum()), int(said[:, c].sum())),
                _share_of(int((there & said)[:, c].sum()), int(there[:, c].sum())),
                None if order is None else interval(*order, int(known[:, c].sum())),
            )
            for c, (name, order) in enumerate(zip(classes, orders, strict=True))
        ),
    )


def numbers(
    y: Floats,
    predicted: Floats,
    *,
    half_width: float | None = None,
    groups: Groups = None,
    seed: int = 0,
) -> NumberMetrics:
    """Of truth `y` [N] and `predicted` [N]; `half_width` of the interval given around each."""
    errors = np.abs(np.asarray(y, np.float64) - predicted)
    times = resamples(len(y), seed=seed, groups=groups)
    return NumberMetrics(
        mean_absolute_error=bootstrapped_mean(errors, times),
        of_guessing=float(np.abs(y - np.median(y)).mean()),
        within=None if half_width is None else wilson_interval(errors <= half_width),
    )


def calibration(before: Floats, after: Floats, right: Bools) -> dict[str, Any]:
    """The calibration error of probabilities [K], without and with a temperature, as JSON."""
    return {
        "calibration_error": {
            "before": calibration_error(before, right),
            "after": calibration_error(after, right),
            "n": len(right),
        }
    }


def _balanced(y: Ints, right: Bools, times: Float32s) -> Estimate:
    order = np.argsort(y, kind="stable")
    starts = np.flatnonzero(np.diff(y[order], prepend=-1))
    drawn = times[:, order]
    sizes = np.add.reduceat(drawn, starts, axis=1)
    hits = np.add.reduceat(drawn * right[order], starts, axis=1)
    there = sizes > 0  # in this draw
    recalls = hits / np.maximum(sizes, 1)
    means = (recalls * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    sizes_of_all = np.diff(np.append(starts, len(y)))
    value = float((np.add.reduceat(right[order].astype(float), starts) / sizes_of_all).mean())
    return interval(value, means, len(y))


def _average_precision(
    there: Bools, scores: Floats, times: Float32s
) -> tuple[float, Float64s] | None:
    """Average precision of the order by score, and its replicates [draws]; None without a row.

    Equal scores share the precision after the last of them, as in scikit-learn.
    """
    if not there.any():
        return None
    order = np.argsort(-scores, kind="stable")
    there, scores = there[order], scores[order]
    last = np.searchsorted(-scores, -scores, side="right") - 1  # row [n] that ends its tie

    def of(weights: Floats) -> Float64s:
        hits = weights * there
        precision = np.cumsum(hits, axis=1) / np.maximum(np.cumsum(weights, axis=1), 1e-9)
        total = hits.sum(axis=1)
        found = (hits * precision[:, last]).sum(axis=1) / np.where(total > 0, total, np.nan)
        return np.asarray(found, np.float64)

    return float(of(np.ones((1, len(there))))[0]), of(times[:, order])


def _mean_average_precision(orders: list[tuple[float, Float64s] | None], n: int) -> Estimate | None:
    found = [order for order in orders if order is not None]
    if not found:
        return None
    drawn = np.stack([replicates for _, replicates in found])
    known = np.isfinite(drawn)
    means = np.where(known, drawn, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return interval(float(np.mean([value for value, _ in found])), means, n)


def _share_of(hits: int, n: int) -> Estimate | None:
    return wilson_interval(np.arange(n) < hits) if n else None


def _listed(classes: tuple[ClassMetrics, ...]) -> list[dict[str, Any]]:
    listed = list(classes)
    if len(listed) > LISTED_CLASSES:
        listed.sort(key=lambda c: c.recall.value if c.recall else 2.0)
    return [asdict(of_class) for of_class in listed[:LISTED_CLASSES]]
