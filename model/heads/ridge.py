"""Ridge regression on ±1 a class: the fit is one decomposition, and leaving rows out costs nothing.

The scores are divided by a temperature from rows that were left out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.heads.fitting.least_squares import fit_ridge
from model.heads.fitting.score_scaling import divisor
from model.heads.fitting.solver import one_hot
from model.heads.linear import LinearHead, row_weights, spread
from model.heads.registry import HEADS, FitData

KIND = "ridge"


@HEADS.register(KIND)
class RidgeKind:
    """The kind `ridge`."""

    complexity = 1
    compared_up_to = None

    def fit(self, data: FitData) -> LinearHead:
        """A head of the classes that have rows; the others get −inf."""
        prepared = data.prepared
        z = prepared.z
        seen, label = np.unique(data.y, return_inverse=True)
        settings = data.settings_of
        if isinstance(settings, LinearHead) and settings.kind == KIND:
            penalty: float | None = settings.penalty
        else:
            penalty = None
        ridge = fit_ridge(
            z,
            2 * one_hot(label, len(seen)).astype(np.float64) - 1,
            row_weights(label, data.weight),
            data.groups,
            penalty=penalty,
        )
        own = z @ ridge.w[:-1] + ridge.w[-1]
        w = (ridge.w / divisor(own, ridge.left_out, label)).astype(np.float32)
        weight, bias = prepared.basis.to_features(w)
        weight, bias = spread(seen, len(data.classes), weight, bias)
        return LinearHead(KIND, data.classes, weight, bias, prepared.power, ridge.penalty)

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> LinearHead:
        """The head of stored arrays."""
        return LinearHead.from_arrays(KIND, classes, arrays)
