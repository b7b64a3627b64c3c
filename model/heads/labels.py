"""Several labels for an image: a logistic regression a class, one strength for all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Indices
from model.heads.fitting import solver
from model.heads.fitting.penalty_search import (
    FIT_TOLERANCE,
    PRESUMED,
    SEARCH_RANK,
    SEARCH_TOLERANCE,
    Trial,
    choose_penalty,
    splits,
    start_from,
    widened,
)
from model.heads.linear import LinearHead
from model.heads.registry import FitData

KIND = "labels"


def fit_labels(data: FitData) -> LinearHead:
    """A head for finite rows x [N, D] and labels y [N, C] of 0 and 1, NaN where unknown.

    A class that no row has gets −inf, one that every known row has a constant.
    """
    y, classes, prepared = data.y, data.classes, data.prepared
    known = np.isfinite(y)
    target = np.where(known, y, 0).astype(np.float32)
    having = target.sum(axis=0)
    lacking = known.sum(axis=0) - having
    learned = np.flatnonzero((having > 0) & (lacking > 0))
    # Half a row on either side (Jeffreys' prior): the odds of a class that every row has.
    constant = np.log((having + 0.5) / (lacking + 0.5))
    bias = np.where(having > 0, constant, -np.inf).astype(np.float32)
    weight = np.zeros((data.x.shape[1], len(classes)), np.float32)
    penalty = PRESUMED
    if len(learned):
        z = prepared.z
        targets, counted = target[:, learned], known[:, learned].astype(np.float32)
        names: Sequence[str] = [classes[index] for index in learned]
        start = start_from(data.warm_start, KIND, names, prepared)
        settings = data.settings_of
        if isinstance(settings, LinearHead) and settings.kind == KIND:
            penalty = settings.penalty
        else:
            penalty, tried = _choose_penalty(z[:, :SEARCH_RANK], targets, counted, data)
            start = start if start.any() else widened(tried, start)
        w = solver.minimise(
            solver.problem(z, targets, counted),
            penalty,
            start,
            loss_of=solver.binary_cross_entropy,
            tolerance=FIT_TOLERANCE * len(learned),
        )
        weight[:, learned], bias[learned] = prepared.basis.to_features(w)
    return LinearHead(KIND, classes, weight, bias, prepared.power, penalty)


def rarest_class(y: NDArray[Any]) -> Indices:
    """Of each row of y [N, C] that class of its own which fewest rows have; −1 without any."""
    there = y == 1
    rarest = np.where(there, there.sum(axis=0), np.inf).argmin(axis=1)
    return np.where(there.any(axis=1), rarest, -1)


def _choose_penalty(
    z: Float32s, target: Float32s, known: Float32s, data: FitData
) -> tuple[float, list[Float32s]]:
    """The penalty with the least log-loss over all classes on rows that were held out.

    With it, what was fitted by it on the other rows.
    """

    def trial(train: Bools, test: Bools) -> Trial:
        held = solver.problem(z[test], target[test], known[test])

        def held_loss(w: Float32s) -> float:
            return solver.binary_cross_entropy(held, held.z @ w)[0] * len(held.z)

        return Trial(solver.problem(z[train], target[train], known[train]), held_loss)

    # Folds are balanced by each row's rarest class: it is the one that a fold may lack.
    strata = rarest_class(target)
    trials = [trial(train, test) for train, test in splits(strata, data.groups, seed=data.seed)]
    if not trials:
        return PRESUMED, []
    tolerance = SEARCH_TOLERANCE * target.shape[1]
    return choose_penalty(trials, solver.binary_cross_entropy, tolerance=tolerance)
