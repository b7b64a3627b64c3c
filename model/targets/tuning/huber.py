"""Fine-tuning on a number an image: Huber's loss of the standardised number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Float64s
from model.heads import Head
from model.heads.features import fitting_power, normalise
from model.heads.linear import LinearHead
from model.targets.labels import EncodedLabels
from model.targets.tuning.loss import PreparedLabels, check_shape, filled

if TYPE_CHECKING:
    import torch

# Ridge penalties, relative to the mean variance of a feature; weak to strong.
PENALTIES = tuple(10.0 ** (step / 2) for step in range(-4, 9))


class Huber:
    """Labels y [N] are numbers, NaN where there is none."""

    def width(self, classes: tuple[str, ...]) -> int:
        """One output."""
        return 1

    def of_all_rows(self, labels: EncodedLabels, count: int) -> NDArray[Any]:
        """[N]."""
        return filled(labels.rows, labels.y, np.full(count, np.nan, np.float64))

    def labelled(self, y: NDArray[Any]) -> Bools:
        """[N]."""
        return np.asarray(np.isfinite(y), np.bool_)

    def check(self, name: str, y: NDArray[Any], items: int, width: int) -> None:
        """ValueError unless y is [N]."""
        check_shape(name, y, (items,))

    def distinct(self, y: NDArray[Any]) -> int:
        """How many numbers differ."""
        return len(np.unique(y))

    def strata(self, y: NDArray[Any]) -> None:
        """Numbers are not balanced."""
        return

    def shown(self, y: NDArray[Any], width: int) -> None:
        """Numbers have no rare classes."""
        return

    def prepare(self, y: NDArray[Any], training: Bools) -> PreparedLabels:
        """[N, 1] standardised."""
        column = y.astype(np.float32).reshape(len(y), -1)
        known = np.isfinite(column)
        mean, deviation = 0.0, 1.0
        if (known[:, 0] & training).any():
            learned = column[known[:, 0] & training, 0]
            mean, deviation = float(learned.mean()), float(learned.std()) or 1.0
        standard = np.where(known, (column - mean) / deviation, 0.0).astype(np.float32)
        return PreparedLabels(standard, known.astype(np.float32), mean, deviation)

    def accepts(self, head: Head | None, classes: tuple[str, ...], dim: int) -> bool:
        """No head is given for numbers."""
        return False

    def initial_head(
        self,
        features: Float32s,
        y: NDArray[Any],
        rows: Bools,
        classes: tuple[str, ...],
        *,
        seed: int,
    ) -> LinearHead:
        """Ridge regression on standardised labels, its strength by leave-one-out error."""
        power = fitting_power(features)
        weight, bias = np.zeros((features.shape[1], 1), np.float32), np.zeros(1, np.float32)
        labels = y[rows].astype(np.float64)
        if len(np.unique(labels)) > 1:
            z = normalise(features[rows], power).astype(np.float64)
            mean = z.mean(axis=0)
            weight[:, 0] = _ridge(z - mean, labels)
            bias[0] = -float(mean @ weight[:, 0])
        return LinearHead("number", ("value",), weight, bias, power, 0.0)

    def each(self, outputs: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
        """[N, 1]."""
        from torch.nn.functional import smooth_l1_loss

        return smooth_l1_loss(outputs, y, reduction="none")

    def error(
        self, outputs: torch.Tensor, y: torch.Tensor, mask: torch.Tensor
    ) -> tuple[float, float]:
        """The absolute errors, and their squares."""
        gap = (outputs - y) * mask
        return float(gap.abs().sum()), float(gap.square().sum())


def _ridge(centred: Float64s, y: Float64s) -> Float64s:
    """The weights [D] of centred rows [n, D] for standardised numbers y [n]."""
    standard = (y - y.mean()) / y.std()
    values, vectors = np.linalg.eigh(centred.T @ centred)
    values = np.maximum(values, 0.0)
    turned = centred @ vectors
    best, least = np.zeros(centred.shape[1]), np.inf
    for penalty in np.array(PENALTIES) * max(float(values.mean()), 1e-12):
        coefficients = (turned.T @ standard) / (values + penalty)
        leverage = np.square(turned) @ (1 / (values + penalty)) + 1 / len(y)
        left_out = (standard - turned @ coefficients) / np.maximum(1 - leverage, 1e-6)
        error = float(np.square(left_out).mean())
        if error < least:
            least, best = error, vectors @ coefficients
    return best
