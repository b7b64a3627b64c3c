"""Linear heads: a weight, a bias and a normalisation. Numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Floats, Indices
from model.heads.features import normalise

# Each row counts (class size) ** −this: rare classes a little more. At 0.5 accuracy on draws from
# an imbalanced pool falls by a point, at 0 the rarest classes are hardly ever suggested.
BALANCE = 0.25

# Rows that are normalised and multiplied at a time: what that takes stays under 64 MiB.
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logits that are linear in the normalised embedding. A class without labels has −inf."""

    kind: str  # under which it is registered
    classes: tuple[str, ...]  # in the order of logits
    weight: Float32s  # [D, C]
    bias: Float32s  # [C], −inf for a class without labels
    power: float  # of `normalise`
    penalty: float  # L2 penalty that it was fitted with, 0 when it has none

    def logits(self, x: Floats) -> Float32s:
        """Logits [N, C] of embeddings [N, D] of any float type."""
        logits = np.empty((len(x), len(self.classes)), np.float32)
        for start in range(0, len(x), ROWS_AT_ONCE):
            rows = normalise(x[start : start + ROWS_AT_ONCE], self.power)
            logits[start : start + len(rows)] = rows @ self.weight + self.bias
        return logits

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but kind and classes, to be stored; `from_arrays` takes it back."""
        return {
            "weight": self.weight,
            "bias": self.bias,
            "power": np.array([self.power], np.float32),
            "penalty": np.array([self.penalty], np.float32),
        }

    @classmethod
    def from_arrays(
        cls, kind: str, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> Self:
        """The head again. ValueError when the arrays are not those of a head for `classes`."""
        try:
            weight, bias = arrays["weight"], arrays["bias"]
            power, penalty = float(arrays["power"][0]), float(arrays["penalty"][0])
        except (KeyError, IndexError) as error:
            raise ValueError(f"A {kind} head lacks a part: {error}.") from error
        if weight.shape[1:] != (len(classes),) or bias.shape != (len(classes),):
            raise ValueError(
                f"A head for {len(classes)} classes has weights {weight.shape}, bias {bias.shape}."
            )
        return cls(
            kind,
            classes,
            np.ascontiguousarray(weight, np.float32),
            np.ascontiguousarray(bias, np.float32),
            power,
            penalty,
        )


def spread(
    seen: Indices, classes: int, weight: Float32s, bias: Float32s
) -> tuple[Float32s, Float32s]:
    """Weight [D, C] and bias [C] for all classes, of those for the classes in `seen` alone."""
    all_weight = np.zeros((len(weight), classes), np.float32)
    all_bias = np.full(classes, -np.inf, np.float32)
    all_weight[:, seen] = weight
    all_bias[seen] = bias
    return all_weight, all_bias


def row_weights(label: Indices, weight: Float32s) -> Float32s:
    """The weight of each row [n]: its own, and more where its class is rare."""
    sizes = np.bincount(label, weight).astype(np.float32)
    weights: Float32s = weight * sizes[label] ** np.float32(-BALANCE)
    return weights
