"""Fine-tuning on one class an image: cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Indices, Int64s
from model.heads import FitData, Head, fit
from model.heads.features import fitting_power
from model.heads.linear import LinearHead
from model.targets.labels import EncodedLabels
from model.targets.tuning.loss import PreparedLabels, check_shape, filled

if TYPE_CHECKING:
    import torch


class CrossEntropy:
    """Labels y [N] are indices into the classes, −1 where there is none."""

    def width(self, classes: tuple[str, ...]) -> int:
        """One output a class."""
        return len(classes)

    def of_all_rows(self, labels: EncodedLabels, count: int) -> NDArray[Any]:
        """[N] indices."""
        return filled(labels.rows, labels.y, np.full(count, -1, np.int64))

    def labelled(self, y: NDArray[Any]) -> Bools:
        """[N]."""
        known: Bools = y >= 0
        return known

    def check(self, name: str, y: NDArray[Any], items: int, width: int) -> None:
        """ValueError unless y holds [N] indices below the width."""
        check_shape(name, y, (items,))
        if np.max(y, initial=-1) >= width:
            raise ValueError(f"y of {name} holds an index beyond its classes.")

    def distinct(self, y: NDArray[Any]) -> int:
        """How many classes there are."""
        return len(np.unique(y))

    def strata(self, y: NDArray[Any]) -> Int64s:
        """[N] the classes."""
        return y.astype(np.int64)

    def shown(self, y: NDArray[Any], width: int) -> Bools:
        """[N, C] the class of each image."""
        shown: Bools = np.zeros((len(y), width), np.bool_)
        known = y >= 0
        shown[np.nonzero(known)[0], y[known].astype(np.intp)] = True
        return shown

    def prepare(self, y: NDArray[Any], training: Bools) -> PreparedLabels:
        """Indices."""
        known = y >= 0
        return PreparedLabels(np.where(known, y, 0).astype(np.int64), known.astype(np.float32))

    def accepts(self, head: Head | None, classes: tuple[str, ...], dim: int) -> bool:
        """Whether it is a linear head of the same classes and features."""
        return (
            isinstance(head, LinearHead)
            and head.classes == classes
            and head.weight.shape == (dim, len(classes))
        )

    def initial_head(
        self,
        features: Float32s,
        y: NDArray[Any],
        rows: Bools,
        classes: tuple[str, ...],
        *,
        seed: int,
    ) -> LinearHead:
        """Logistic regression; of a single class a constant."""
        labels = y[rows].astype(np.intp)
        if len(np.unique(labels)) > 1:
            return logistic(features[rows], labels, classes, seed)
        weight = np.zeros((features.shape[1], len(classes)), np.float32)
        bias = np.full(len(classes), -np.inf, np.float32)
        bias[labels] = 0.0
        return LinearHead("logistic", classes, weight, bias, fitting_power(features), 0.0)

    def each(self, outputs: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
        """[N] cross-entropy, in nats."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, y, reduction="none", label_smoothing=smoothing)

    def error(
        self, outputs: torch.Tensor, y: torch.Tensor, mask: torch.Tensor
    ) -> tuple[float, float]:
        """How many classes are wrong, and their cross-entropy."""
        wrong = outputs.argmax(1) != y
        loss = (self.each(outputs, y, 0.0) * mask).sum()
        return float((wrong * mask).sum()), float(loss)


def logistic(x: Float32s, y: Indices, classes: tuple[str, ...], seed: int) -> LinearHead:
    """A logistic head for labels y [n], indices into classes."""
    head = fit(FitData.of(x, y, classes, seed=seed), kind="logistic")
    assert isinstance(head, LinearHead), "logistic heads are linear"
    return head
