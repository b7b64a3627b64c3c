"""How good a head is, told honestly: logits of rows that it wasn't fitted on, and an interval."""

import numpy as np
from numpy.typing import NDArray

from model.folds import grouped_folds
from model.heads import Head, choose_kind, fit
from model.intervals import Measure as Accuracy
from model.intervals import share as accuracy

__all__ = ["Accuracy", "accuracy", "out_of_fold_logits"]

FOLDS = 5

# Above this many rows the strength that one fold's rows chose is taken for all: what it has seen of
# the other folds' rows is one number.
NESTED_ROWS = 1000


def out_of_fold_logits(
    x: NDArray[np.floating],
    y: NDArray[np.integer],
    groups: NDArray[np.generic],
    classes: tuple[str, ...],
    *,
    seed: int,
    weight: NDArray[np.floating] | None = None,
    kind: str | None = None,
) -> NDArray[np.float32]:
    """Logits [N, C] of each row, by a head fitted on the folds that the row isn't in.

    `x` [N, D] are features, `y` [N] indices into `classes`. Rows of equal `groups` [N] (near
    duplicates) share a fold. `weight` [N] is how much each counts, 1 without it. The kind of head
    is `kind`, or else what `fit` takes for all rows. A class that no other fold has gets −inf, so
    that its only member is counted as wrong, as it would be in use. With one group only there is
    nothing to fit on: ValueError.
    """
    folds = grouped_folds(y, groups, FOLDS, seed=seed)
    if folds.max(initial=0) == 0:
        raise ValueError("Out-of-fold logits need labels in at least two groups.")
    kind = kind or choose_kind(y)
    settings: Head | None = None
    logits = np.empty((len(y), len(classes)), np.float32)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        head = fit(
            x[~held],
            y[~held],
            classes,
            seed=seed,
            groups=groups[~held],
            weight=None if weight is None else weight[~held],
            kind=kind,
            settings_of=settings,
        )
        settings = head if len(y) > NESTED_ROWS else None
        logits[held] = head.logits(x[held])
    return logits
