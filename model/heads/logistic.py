"""Logistic regression with an L2 penalty whose strength is chosen by cross-validation.

All of it happens in the rows' principal components: with fewer rows than features that is exact and
far smaller, with more it keeps the components that matter. The strength goes by the log-loss of
held-out rows, which also leaves the probabilities nearly calibrated.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Indices
from model.heads.fitting import solver
from model.heads.fitting.penalty_search import (
    FIT_TOLERANCE,
    PRESUMED,
    SEARCH_RANK,
    Trial,
    choose_penalty,
    splits,
    start_from,
    widened,
)
from model.heads.linear import LinearHead, row_weights, spread
from model.heads.registry import HEADS, FitData

KIND = "logistic"


@HEADS.register(KIND)
class LogisticKind:
    """The kind `logistic`."""

    complexity = 2
    compared_up_to = None

    def fit(self, data: FitData) -> LinearHead:
        """A head of the classes that have rows; the others get −inf."""
        prepared = data.prepared
        z = prepared.z
        seen, label = np.unique(data.y, return_inverse=True)
        names = [data.classes[index] for index in seen]
        start = start_from(data.warm_start, KIND, names, prepared)
        if isinstance(data.settings_of, LinearHead) and data.settings_of.kind == KIND:
            penalty = data.settings_of.penalty
        else:
            penalty, tried = _choose_penalty(z, label, len(seen), data)
            start = start if start.any() else widened(tried, start)
        w = solver.minimise(
            _problem(z, label, len(seen), row_weights(label, data.weight)),
            penalty,
            start,
            loss_of=solver.cross_entropy,
            tolerance=FIT_TOLERANCE,
        )
        weight, bias = prepared.basis.to_features(w)
        weight, bias = spread(seen, len(data.classes), weight, bias)
        return LinearHead(KIND, data.classes, weight, bias, prepared.power, penalty)

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> LinearHead:
        """The head of stored arrays."""
        return LinearHead.from_arrays(KIND, classes, arrays)


def _problem(z: Float32s, label: Indices, classes: int, weights: Float32s) -> solver.Problem:
    counted = weights / weights.mean()
    return solver.problem(z, solver.one_hot(label, classes), counted[:, None])


def _choose_penalty(
    z: Float32s, label: Indices, classes: int, data: FitData
) -> tuple[float, list[Float32s]]:
    """The penalty with the least log-loss on rows that were held out.

    With it, what was fitted by it on the other rows.
    """
    weights = row_weights(label, data.weight)
    tried = z[:, :SEARCH_RANK]

    def trial(train: Bools, test: Bools) -> Trial:
        held, truth, counted = tried[test], label[test], weights[test]

        def held_loss(w: Float32s) -> float:
            p = solver.probabilities(held @ w[:-1] + w[-1])
            of_truth = p[np.arange(len(truth)), truth]
            return float(np.dot(-np.log(np.maximum(of_truth, np.float32(1e-7))), counted))

        return Trial(_problem(tried[train], label[train], classes, weights[train]), held_loss)

    trials = [trial(train, test) for train, test in splits(label, data.groups, seed=data.seed)]
    return choose_penalty(trials, solver.cross_entropy) if trials else (PRESUMED, [])
