"""How good a head is, told honestly: logits of rows that it wasn't fitted on, and an interval."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Floats, Ints
from model.heads import Head, choose_kind, fit
from model.statistics.folds import grouped_folds

__all__ = ["fold_by_fold", "out_of_fold_logits"]

FOLDS = 5

# Above this many rows the strength that one fold's rows chose is taken for all: what it has seen of
# the other folds' rows is one number.
NESTED_ROWS = 1000


def out_of_fold_logits(
    x: Floats,
    y: Ints,
    groups: NDArray[np.generic],
    classes: tuple[str, ...],
    *,
    seed: int,
    weight: Floats | None = None,
    kind: str | None = None,
) -> Float32s:
    """Logits [N, C] of each row, by a head fitted on the folds that the row isn't in.

    `x` [N, D] are features, `y` [N] indices into `classes`. Rows of equal `groups` [N] (near
    duplicates) share a fold. `weight` [N] is how much each counts, 1 without it. The kind of head
    is `kind`, or else what `fit` takes for all rows. A class that no other fold has gets −inf, so
    that its only member is counted as wrong, as it would be in use. With one group only there is
    nothing to fit on: ValueError.
    """
    kind = kind or choose_kind(y)

    def fit_rows(rows: Bools, settings_of: Head | None) -> Head:
        return fit(
            x[rows],
            y[rows],
            classes,
            seed=seed,
            groups=groups[rows],
            weight=None if weight is None else weight[rows],
            kind=kind,
            settings_of=settings_of,
        )

    return fold_by_fold(x, y, groups, fit_rows, len(classes), seed=seed)


def fold_by_fold(
    x: Floats,
    strata: Ints,
    groups: NDArray[np.generic],
    fit_rows: Callable[[Bools, Head | None], Head],
    width: int,
    *,
    seed: int,
) -> Float32s:
    """Outputs [N, width] of rows x [N, D], each by a head that wasn't fitted on its fold.

    Folds are balanced by `strata` [N] and keep `groups` [N] whole; with one group only: ValueError.
    `fit_rows` fits on a mask [N] of rows, with the settings of a head if one is given.
    """
    folds = grouped_folds(strata, groups, FOLDS, seed=seed)
    if folds.max(initial=0) == 0:
        raise ValueError("Out-of-fold outputs need labels in at least two groups.")
    settings: Head | None = None
    outputs = np.empty((len(x), width), np.float32)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        head = fit_rows(~held, settings)
        settings = head if len(x) > NESTED_ROWS else None
        outputs[held] = head.logits(x[held])
    return outputs
