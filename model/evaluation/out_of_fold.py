"""Outputs for rows that a head wasn't fitted on, whatever it learns: classes, several, a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Floats
from model.evaluation.cross_validation import fold_by_fold, out_of_fold_logits
from model.heads import Head, fit_labels, fit_number
from model.heads.labels import rarest_class
from model.targets.encoding import Encoded

# The classes that folds of numbers are balanced by: fifths of the rows, by value.
NUMBER_STRATA = 5


def out_of_fold_outputs(
    x: Floats,
    labels: Encoded,
    groups: NDArray[np.generic],
    *,
    seed: int,
    weight: Floats | None = None,
    kind: str | None = None,
) -> Float32s:
    """Outputs [N, C] of each row, C the number of classes or 1 for a number.

    `x` [N, D] are the features of the labels' rows. Rows of equal `groups` [N] share a fold, and
    none is answered by a head that was fitted on its fold. `weight` [N] is how much each counts,
    where one class each is learned, and `kind` what kind of head is. With one group only:
    ValueError.
    """
    y = labels.y
    if labels.form == "single":
        names = labels.names
        return out_of_fold_logits(x, y, groups, names, seed=seed, weight=weight, kind=kind)
    if labels.form == "multi":
        strata = rarest_class(y)

        def fit_rows(rows: Bools, settings_of: Head | None) -> Head:
            return fit_labels(
                x[rows],
                y[rows],
                labels.names,
                seed=seed,
                groups=groups[rows],
                settings_of=settings_of,
            )

        return fold_by_fold(x, strata, groups, fit_rows, len(labels.names), seed=seed)
    order = np.argsort(np.argsort(y, kind="stable"), kind="stable")
    strata = order * NUMBER_STRATA // len(y)

    def fit_numbers(rows: Bools, settings_of: Head | None) -> Head:
        return fit_number(x[rows], y[rows], seed=seed, groups=groups[rows], settings_of=settings_of)

    return fold_by_fold(x, strata, groups, fit_numbers, 1, seed=seed)
