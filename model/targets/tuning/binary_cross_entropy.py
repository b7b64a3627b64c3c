"""Fine-tuning on several classes an image: binary cross-entropy of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Int64s
from model.heads import Head
from model.heads.features import fitting_power
from model.heads.labels import rarest_class
from model.heads.linear import LinearHead
from model.targets.labels import EncodedLabels
from model.targets.tuning.cross_entropy import logistic
from model.targets.tuning.loss import PreparedLabels, check_shape, filled

if TYPE_CHECKING:
    import torch

UNLEARNED = -3.0  # at most the start of a class that all images have, or none


class BinaryCrossEntropy:
    """Labels y [N, C] are 1 and 0, and −1 or NaN where there is none."""

    def width(self, classes: tuple[str, ...]) -> int:
        """One output a class."""
        return len(classes)

    def of_all_rows(self, labels: EncodedLabels, count: int) -> NDArray[Any]:
        """[N, C]."""
        nothing = np.full((count, len(labels.names)), np.nan, np.float32)
        return filled(labels.rows, labels.y, nothing)

    def labelled(self, y: NDArray[Any]) -> Bools:
        """[N, C]."""
        known: Bools = np.isfinite(y) & (y >= 0)
        return known

    def check(self, name: str, y: NDArray[Any], items: int, width: int) -> None:
        """ValueError unless y is [N, C]."""
        check_shape(name, y, (items, width))

    def distinct(self, y: NDArray[Any]) -> int:
        """The most different labels of any class."""
        known = self.labelled(y)
        return max((len(np.unique(c[k])) for c, k in zip(y.T, known.T, strict=True)), default=0)

    def strata(self, y: NDArray[Any]) -> Int64s:
        """[N] the rarest class of each image."""
        return rarest_class(y).astype(np.int64)

    def shown(self, y: NDArray[Any], width: int) -> Bools:
        """[N, C]."""
        shown: Bools = y > 0
        return shown

    def prepare(self, y: NDArray[Any], training: Bools) -> PreparedLabels:
        """[N, C] of 0 and 1."""
        known = self.labelled(y)
        return PreparedLabels(np.where(known, y, 0.0).astype(np.float32), known.astype(np.float32))

    def accepts(self, head: Head | None, classes: tuple[str, ...], dim: int) -> bool:
        """No head is given for several classes."""
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
        """A logistic regression a class."""
        weight = np.zeros((features.shape[1], len(classes)), np.float32)
        bias = np.full(len(classes), -np.inf, np.float32)
        known = self.labelled(y)
        for column in range(len(classes)):
            of_class = rows & known[:, column]
            there = y[of_class, column] > 0
            if len(np.unique(there)) == 2:
                head = logistic(features[of_class], there.astype(np.intp), ("0", "1"), seed)
                weight[:, column] = head.weight[:, 1] - head.weight[:, 0]
                bias[column] = head.bias[1] - head.bias[0]
        lowest = float(bias[np.isfinite(bias)].min(initial=UNLEARNED))
        bias[~np.isfinite(bias)] = min(UNLEARNED, lowest)
        return LinearHead("logistic", classes, weight, bias, fitting_power(features), 0.0)

    def each(self, outputs: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
        """[N, C] binary cross-entropy, in nats."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs, y, reduction="none")

    def error(
        self, outputs: torch.Tensor, y: torch.Tensor, mask: torch.Tensor
    ) -> tuple[float, float]:
        """How many labels are wrong, and their cross-entropy."""
        wrong = (outputs > 0) != (y > 0)
        loss = (self.each(outputs, y, 0.0) * mask).sum()
        return float((wrong * mask).sum()), float(loss)
