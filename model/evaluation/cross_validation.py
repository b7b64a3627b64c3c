"""Cross-validation: outputs of heads for rows that they were not fitted on."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from model.arrays import Float32s, Ints
from model.heads import FitData, Head, choose_kind, fit
from model.statistics.folds import grouped_folds

__all__ = ["fold_by_fold", "out_of_fold_logits"]

FOLDS = 5

# Above this many rows the strength that one fold's rows chose is taken for all: what it has seen of
# the other folds' rows is one number.
NESTED_ROWS = 1000


def out_of_fold_logits(data: FitData, *, kind: str | None = None) -> Float32s:
    """Logits [N, C] of each row, by a head fitted on the folds that the row isn't in.

    `data.y` [N] are indices into classes. Rows of one group (near-duplicates) share a fold. The
    kind of head is `kind`, or else what `fit` takes for all rows. A class that no other fold has
    gets −inf, so that its only member is counted as wrong, as it would be in use. With one group
    only there is nothing to fit on: ValueError.
    """
    kind = kind or choose_kind(data.y)
    return fold_by_fold(data, data.y, lambda part: fit(part, kind=kind), len(data.classes))


def fold_by_fold(
    data: FitData, strata: Ints, fit_head: Callable[[FitData], Head], width: int
) -> Float32s:
    """Outputs [N, width] of each row, by a head that wasn't fitted on its fold.

    Folds are balanced by `strata` [N] and keep groups whole; with one group only: ValueError.
    `fit_head` fits on some of the rows, with the settings of another fold's head if there are many.
    """
    folds = grouped_folds(strata, data.groups, FOLDS, seed=data.seed)
    if folds.max(initial=0) == 0:
        raise ValueError("Out-of-fold outputs need labels in at least two groups.")
    settings: Head | None = None
    outputs = np.empty((len(data.x), width), np.float32)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        head = fit_head(replace(data.part(~held), warm_start=None, settings_of=settings))
        settings = head if len(data.x) > NESTED_ROWS else None
        outputs[held] = head.logits(data.x[held])
    return outputs
