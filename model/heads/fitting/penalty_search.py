"""Searches the L2 penalty of least loss on held-out rows along a path of penalties.

Fits start from the optimum of the penalty before, which is near, and the path is left once
penalties get no better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Indices
from model.heads.features import Prepared
from model.heads.fitting import solver
from model.heads.linear import LinearHead
from model.heads.registry import Head
from model.statistics.folds import grouped_folds

# Strong to weak, for rows whose total variance is one and the mean loss of a row.
PENALTIES: tuple[float, ...] = tuple(10.0 ** (-step / 2) for step in range(1, 13))
# Where nothing can be held out.
PRESUMED = PENALTIES[len(PENALTIES) // 3]
# The path is left after this many penalties in a row that were no better than the best.
PATIENCE = 2

SEARCH_RANK = 256  # components: the choice of the penalty needs fewer than the fit

# Rows up to which all five folds are held out in turn; above, three of them, then one is enough to
# compare penalties.
FIVE_FOLDS_ROWS = 1000
THREE_FOLDS_ROWS = 2000

SEARCH_TOLERANCE = 1e-4  # nats
FIT_TOLERANCE = 1e-6  # nats


@dataclass(frozen=True)
class Trial:
    """One split: what is fitted on, and the loss that weights [r + 1, C] have on the rest."""

    training: solver.Problem
    held_loss: Callable[[Float32s], float]


def choose_penalty(
    trials: Sequence[Trial],
    loss_of: solver.Loss,
    given: float | None = None,
    *,
    tolerance: float = SEARCH_TOLERANCE,
) -> tuple[float, list[Float32s]]:
    """The penalty of least loss on held-out rows, and what each trial fitted with it.

    With a `given` penalty there is no other to choose.
    """
    starts: list[Float32s] = [
        np.zeros((trial.training.z.shape[1], trial.training.target.shape[1]), np.float32)
        for trial in trials
    ]
    best, least, worse = PENALTIES[0], np.inf, 0
    of_best = starts
    for penalty in PENALTIES if given is None else (given,):
        starts = [
            solver.minimise(trial.training, penalty, start, loss_of=loss_of, tolerance=tolerance)
            for trial, start in zip(trials, starts, strict=True)
        ]
        loss = sum(trial.held_loss(w) for trial, w in zip(trials, starts, strict=True))
        if loss < least:
            best, least, worse, of_best = penalty, loss, 0, starts
        else:
            worse += 1
            if worse == PATIENCE:
                break
    return best, of_best


def splits(label: Indices, groups: NDArray[np.generic], *, seed: int) -> list[tuple[Bools, Bools]]:
    """Masks [n] of the rows to fit on and of those to try on, a pair a fold.

    A row whose class has no row outside its fold is not tried: no penalty makes it right.
    """
    folds = grouped_folds(label, groups, 5, seed=seed)
    used = 5 if len(label) <= FIVE_FOLDS_ROWS else 3 if len(label) <= THREE_FOLDS_ROWS else 1
    pairs = []
    for fold in range(min(used, int(folds.max()) + 1)):
        train = folds != fold
        test = ~train & np.isin(label, label[train])
        if test.any() and len(np.unique(label[train])) > 1:
            pairs.append((train, test))
    return pairs


def start_from(
    warm: Head | None,
    kind: str,
    classes: Sequence[str],
    prepared: Prepared,
) -> Float32s:
    """Weights [r + 1, C] to start from: an earlier head's where it has the class, else zero."""
    coordinates_of = prepared.basis
    start = np.zeros((coordinates_of.axes.shape[1] + 1, len(classes)), np.float32)
    if not isinstance(warm, LinearHead) or warm.kind != kind or warm.power != prepared.power:
        return start
    if len(warm.weight) != len(coordinates_of.axes):
        return start
    known = {
        name: index for index, name in enumerate(warm.classes) if np.isfinite(warm.bias[index])
    }
    for column, name in enumerate(classes):
        earlier = known.get(name)
        if earlier is not None:
            weight = warm.weight[:, earlier]
            start[:-1, column] = coordinates_of.from_features(weight)
            start[-1, column] = warm.bias[earlier] + coordinates_of.mean @ weight
    return start


def widened(tried: Sequence[Float32s], start: Float32s) -> Float32s:
    """Weights that were fitted to the first components alone, on average, to start from.

    In the shape of `start` [r + 1, C], which it is where nothing was tried.
    """
    if not tried:
        return start
    mean = np.mean(tried, axis=0)
    wider = start.copy()
    wider[: len(mean) - 1], wider[-1] = mean[:-1], mean[-1]
    return wider
