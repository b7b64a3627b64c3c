"""Several labels for an image: a logistic regression a class, one strength for all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Indices
from model.heads.features import Prepared
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
from model.heads.registry import Head

KIND = "labels"


def fit_labels(
    x: Float32s,
    y: Float32s,
    classes: tuple[str, ...],
    groups: NDArray[np.generic],
    *,
    seed: int,
    warm_start: Head | None,
    settings_of: Head | None,
) -> LinearHead:
    """A head for finite rows x [N, D] and labels y [N, C] of 0 and 1, NaN where unknown.

    A class that no row has gets −inf, one that every known row has a constant.
    """
    known = np.isfinite(y)
    target = np.where(known, y, 0).astype(np.float32)
    having = target.sum(axis=0)
    lacking = known.sum(axis=0) - having
    learned = np.flatnonzero((having > 0) & (lacking > 0))
    # Half a row on either side (Jeffreys' prior): the odds of a class that every row has.
    constant = np.log((having + 0.5) / (lacking + 0.5))
    bias = np.where(having > 0, constant, -np.inf).astype(np.float32)
    weight = np.zeros((x.shape[1], len(classes)), np.float32)
    prepared = Prepared(x)
    penalty = PRESUMED
    if len(learned):
        z = prepared.z
        targets, counted = target[:, learned], known[:, learned].astype(np.float32)
        names: Sequence[str] = [classes[index] for index in learned]
        start = start_from(warm_start, KIND, names, prepared)
        if isinstance(settings_of, LinearHead) and settings_of.kind == KIND:
            penalty = settings_of.penalty
        else:
            penalty, tried = _choose_penalty(z[:, :SEARCH_RANK], targets, counted, groups, seed)
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
    z: Float32s, target: Float32s, known: Float32s, groups: NDArray[np.generic], seed: int
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
    trials = [trial(train, test) for train, test in splits(strata, groups, seed=seed)]
    if not trials:
        return PRESUMED, []
    tolerance = SEARCH_TOLERANCE * target.shape[1]
    return choose_penalty(trials, solver.binary_cross_entropy, tolerance=tolerance)
