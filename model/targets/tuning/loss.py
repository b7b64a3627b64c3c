"""The protocol of fine-tuning losses.

Modules of this folder import torch only inside functions: serving imports them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Ints
from model.heads import Head
from model.heads.linear import LinearHead
from model.targets.labels import EncodedLabels

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class PreparedLabels:
    """The labels y [N] or [N, C] of one target, as a network learns them."""

    y: NDArray[Any]  # [N] indices, or [N, C] floats; 0 where there is no label
    mask: Float32s  # of the same shape: 1 where there is a label
    mean: float = 0.0  # what was subtracted from numbers
    deviation: float = 1.0  # and what they were divided by


class TuningLoss(Protocol):
    """The loss of a target; `y` [N] or [N, C] are labels as `of_all_rows` gives them."""

    def width(self, classes: tuple[str, ...]) -> int:
        """The number of the network's outputs."""

    def of_all_rows(self, labels: EncodedLabels, count: int) -> NDArray[Any]:
        """The labels of `count` images, with −1 or NaN where there is none."""

    def labelled(self, y: NDArray[Any]) -> Bools:
        """Where there is a label, in the shape of y."""

    def check(self, name: str, y: NDArray[Any], items: int, width: int) -> None:
        """ValueError unless y holds labels of `items` images for outputs of this width."""

    def distinct(self, y: NDArray[Any]) -> int:
        """The number of different labels."""

    def strata(self, y: NDArray[Any]) -> Ints | None:
        """[N] by which validation rows are drawn evenly; None where that doesn't matter."""

    def shown(self, y: NDArray[Any], width: int) -> Bools | None:
        """[N, C] the classes that images show, of which rare ones are drawn more often."""

    def prepare(self, y: NDArray[Any], training: Bools) -> PreparedLabels:
        """The labels to learn; numbers are standardised by the `training` rows [N]."""

    def accepts(self, head: Head | None, classes: tuple[str, ...], dim: int) -> bool:
        """Whether training can start from a head that is given."""

    def initial_head(
        self,
        features: Float32s,
        y: NDArray[Any],
        rows: Bools,
        classes: tuple[str, ...],
        *,
        seed: int,
    ) -> LinearHead:
        """A head to start from, fitted on features [N, D] of the training `rows` [N]."""

    def each(self, outputs: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
        """The loss of each label, in the shape of y."""

    def error(
        self, outputs: torch.Tensor, y: torch.Tensor, mask: torch.Tensor
    ) -> tuple[float, float]:
        """The sum of errors of the labels, and the sum of what is reported as the loss."""


def filled(rows: Ints, y: NDArray[Any], nothing: NDArray[Any]) -> NDArray[Any]:
    """`nothing` [N, ...] with y [M, ...] in the rows [M]."""
    nothing[rows] = y
    return nothing


def check_shape(name: str, y: NDArray[Any], wanted: tuple[int, ...]) -> None:
    """ValueError unless y has this shape."""
    if np.shape(y) != wanted:
        raise ValueError(f"y of {name} must be {wanted}, not {np.shape(y)}.")
