"""A number for an image: ridge regression on the normalised embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Float64s, Floats
from model.heads.fitting.least_squares import fit_ridge
from model.heads.linear import LinearHead
from model.heads.registry import FitData

KIND = "number"
CLASSES = ("value",)  # a number is the one output of a head that is linear like the others

QUANTILES = 201  # of the errors that are kept


@dataclass(frozen=True, eq=False)
class NumberHead(LinearHead):
    """One output, the value itself: `logits` [N, 1] are `values`."""

    errors: Float32s  # [≤ 201] ascending quantiles of absolute errors on rows left out; or none

    def values(self, x: Floats) -> Float32s:
        """Values [N] of embeddings [N, D]."""
        return self.logits(x)[:, 0]

    def reach(self, level: float) -> float:
        """How far around a value the truth is with probability `level`, 0 < level < 1.

        Split conformal (Lei and others, JASA 2018), with errors on rows left out in place of a
        split. Infinite where too few were left out to tell.
        """
        if not len(self.errors):
            return float("inf")
        place = int(np.ceil(level * (len(self.errors) - 1)))
        return float(self.errors[place])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but kind and classes, to be stored."""
        return super().arrays() | {"errors": self.errors}

    @classmethod
    def from_arrays(
        cls, kind: str, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> Self:
        """The head again. ValueError when the arrays are not those of a number's head."""
        line = LinearHead.from_arrays(kind, classes, arrays)
        if "errors" not in arrays:
            raise ValueError(f"A {kind} head lacks a part: 'errors'.")
        errors = np.ascontiguousarray(arrays["errors"], np.float32)
        return cls(kind, classes, line.weight, line.bias, line.power, line.penalty, errors)


def fit_number(data: FitData) -> NumberHead:
    """A head for finite rows x [N, D] and values y [N], N at least one."""
    prepared, settings = data.prepared, data.settings_of
    penalty = None
    if isinstance(settings, LinearHead) and settings.kind == KIND:
        penalty = settings.penalty
    values = np.asarray(data.y, np.float64)
    middle = float(values.mean())
    unit = float(values.std()) or 1.0
    ridge = fit_ridge(
        prepared.z,
        ((values - middle) / unit)[:, None],
        np.ones(len(values), np.float32),
        data.groups,
        penalty=penalty,
    )
    weight, bias = prepared.basis.to_features(ridge.w.astype(np.float32))
    errors = np.abs(ridge.left_out[:, 0] * unit + middle - values)
    return NumberHead(
        KIND,
        CLASSES,
        weight * np.float32(unit),
        (bias.astype(np.float64) * unit + middle).astype(np.float32),
        prepared.power,
        ridge.penalty,
        _quantiles(errors),
    )


def _quantiles(errors: Float64s) -> Float32s:
    """Of n errors, ascending, so that a share of place / (QUANTILES − 1) of unseen ones is below.

    The one at a share s is the ⌈(n + 1) · s⌉th smallest, and infinite beyond the last.
    """
    if not len(errors) or np.isnan(errors).any():
        return np.zeros(0, np.float32)
    ranked = np.concatenate([[0.0], np.sort(errors), [np.inf]])
    shares = np.arange(QUANTILES) / (QUANTILES - 1)
    places = np.ceil(shares * (len(errors) + 1) - 1e-9).astype(np.intp)
    quantiles: Float32s = ranked[places].astype(np.float32)
    return quantiles
