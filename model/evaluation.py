"""How good a head is, told honestly: logits of rows that it wasn't fitted on, and an interval."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from model.folds import grouped_folds
from model.heads import Head, choose_kind, fit

FOLDS = 5

# Above this many rows the strength that one fold's rows chose is taken for all: what it has seen of
# the other folds' rows is one number.
NESTED_ROWS = 1000


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers with its Wilson interval."""

    value: float
    low: float
    high: float
    n: int  # how many answers it is the share of


def accuracy(correct: NDArray[np.bool_], *, level: float = 0.95) -> Accuracy:
    """The share of `correct` [N] with its two-sided Wilson score interval at `level`.

    Wilson, Probable inference, JASA 1927. N must be at least one.
    """
    n = len(correct)
    if n == 0:
        raise ValueError("The accuracy of no answers at all is unknown.")
    share = float(np.mean(correct))
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    # At 0 and 1 a bound is the share itself, but for rounding.
    return Accuracy(share, max(middle - reach, 0.0), min(middle + reach, 1.0), n)


def out_of_fold_logits(
    x: NDArray[np.floating],
    y: NDArray[np.integer],
    groups: NDArray[np.generic],
    classes: tuple[str, ...],
    *,
    seed: int,
) -> NDArray[np.float32]:
    """Logits [N, C] of each row, by a head fitted on the folds that the row isn't in.

    `x` [N, D] are features, `y` [N] indices into `classes`. Rows of equal `groups` [N] (near
    duplicates) share a fold. The kind of head is what `fit` takes for all rows. A class that no
    other fold has gets −inf, so that its only member is counted as wrong, as it would be in use.
    With one group only there is nothing to fit on: ValueError.
    """
    folds = grouped_folds(y, groups, FOLDS, seed=seed)
    if folds.max(initial=0) == 0:
        raise ValueError("Out-of-fold logits need labels in at least two groups.")
    kind = choose_kind(y)
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
            kind=kind,
            settings_of=settings,
        )
        settings = head if len(y) > NESTED_ROWS else None
        logits[held] = head.logits(x[held])
    return logits
