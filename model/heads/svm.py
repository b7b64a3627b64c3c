"""A linear support vector machine a class, with the squared hinge loss.

The optimum is that of scikit-learn's LinearSVC with C = 1 / (2 · n · penalty), but for the bias,
which is not penalised here. Our solver finds it for all classes at once and from the penalty
before, where liblinear starts anew for each. The scores are divided by a temperature from rows that
were held out.
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
)
from model.heads.fitting.score_scaling import divisor
from model.heads.linear import LinearHead, row_weights, spread
from model.heads.registry import HEADS, FitData

KIND = "svm"


@HEADS.register(KIND)
class SupportVectorKind:
    """The kind `svm`."""

    complexity = 3
    compared_up_to = 20000

    def fit(self, data: FitData) -> LinearHead:
        """A head of the classes that have rows; the others get −inf."""
        prepared = data.prepared
        z = prepared.z
        seen, label = np.unique(data.y, return_inverse=True)
        target = 2 * solver.one_hot(label, len(seen)) - 1
        weights = row_weights(label, data.weight)
        weights /= weights.mean()
        penalty, held, tried = _search(z[:, :SEARCH_RANK], target, label, weights, data)
        w = solver.minimise(
            solver.problem(z, target, weights[:, None]),
            penalty,
            np.zeros((z.shape[1] + 1, len(seen)), np.float32),
            loss_of=solver.squared_hinge,
            tolerance=FIT_TOLERANCE,
        )
        own = z @ w[:-1] + w[-1]
        w /= np.float32(divisor(own, held, label[tried]))
        weight, bias = prepared.basis.to_features(w)
        weight, bias = spread(seen, len(data.classes), weight, bias)
        return LinearHead(KIND, data.classes, weight, bias, prepared.power, penalty)

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> LinearHead:
        """The head of stored arrays."""
        return LinearHead.from_arrays(KIND, classes, arrays)


def _search(
    z: Float32s, target: Float32s, label: Indices, weights: Float32s, data: FitData
) -> tuple[float, Float32s | None, Indices]:
    """The penalty, the scores [m, C] of rows that were held out, and which rows those are [m]."""
    pairs = splits(label, data.groups, seed=data.seed)
    if not pairs:
        return PRESUMED, None, np.zeros(0, np.intp)

    def trial(train: Bools, test: Bools) -> Trial:
        held = solver.problem(z[test], target[test], weights[test, None])

        def held_loss(w: Float32s) -> float:
            return solver.squared_hinge(held, held.z @ w)[0] * len(held.z)

        return Trial(solver.problem(z[train], target[train], weights[train, None]), held_loss)

    trials = [trial(train, test) for train, test in pairs]
    known = data.settings_of
    given = known.penalty if isinstance(known, LinearHead) and known.kind == KIND else None
    penalty, fitted = choose_penalty(trials, solver.squared_hinge, given)
    scores = [z[test] @ w[:-1] + w[-1] for (_, test), w in zip(pairs, fitted, strict=True)]
    rows = [np.flatnonzero(test) for _, test in pairs]
    return penalty, np.concatenate(scores), np.concatenate(rows)
