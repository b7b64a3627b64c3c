"""The training loss and the validation error; rows without a label don't count."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.arrays import Bools, Float32s
from model.finetuning.options import Target


@dataclass(frozen=True, eq=False)
class TargetTensors:
    """A target's labels as tensors on the device."""

    target: Target
    y: torch.Tensor  # single: [N] indices; multi: [N, C]; number: [N, 1], standardised
    mask: torch.Tensor  # of the same shape: 1.0 where there is a label
    mean: float = 0.0  # of a number's labels in the training rows
    deviation: float = 1.0  # their standard deviation

    @classmethod
    def of(cls, target: Target, training: Bools, device: torch.device) -> "TargetTensors":
        """Convert the labels of all rows; a number is standardised by its `training` rows [N]."""
        labels = target.loss.prepare(np.asarray(target.y), training)
        y, mask = _tensor(labels.y, device), _tensor(labels.mask, device)
        return cls(target, y, mask, labels.mean, labels.deviation)

    def weight(self, rows: torch.Tensor) -> float:
        """The number of labels in these rows."""
        return float(self.mask[rows].sum())

    def loss(self, outputs: torch.Tensor, rows: torch.Tensor, smoothing: float) -> torch.Tensor:
        """The loss summed over the labels."""
        each = self.target.loss.each(outputs, self.y[rows], smoothing)
        return (each * self.mask[rows]).sum()

    def error(self, outputs: torch.Tensor, rows: torch.Tensor) -> tuple[float, float] | None:
        """(error, loss) as in `Evaluation`; None without a label.

        Both are infinite where an output is not finite, so that such weights are never chosen.
        """
        y, mask = self.y[rows], self.mask[rows]
        count = float(mask.sum())
        if not count:
            return None
        if not outputs.isfinite().all():
            return math.inf, math.inf
        error, loss = self.target.loss.error(outputs, y, mask)
        return error / count, loss / count

    def unstandardised(self, outputs: torch.Tensor) -> Float32s:
        """Outputs [N, C] as logits, or as numbers in their own unit."""
        values = outputs * self.deviation + self.mean
        result: Float32s = values.float().cpu().numpy()
        return result


def total_loss(
    target_tensors: Sequence[TargetTensors],
    outputs: Mapping[str, torch.Tensor],
    rows: torch.Tensor,
    batch: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    """The share of `rows` in the mean loss of the whole `batch`, summed over targets.

    So the gradients of micro-batches add up to the batch's.
    """
    parts = [
        t.loss(outputs[t.target.name], rows, smoothing) / max(t.weight(batch), 1.0)
        for t in target_tensors
    ]
    return torch.stack(parts).sum()


def mean_error(
    target_tensors: Sequence[TargetTensors], outputs: Mapping[str, torch.Tensor], rows: torch.Tensor
) -> tuple[float, float]:
    """(error, loss), each the mean over the targets that have labels in `rows`; NaN if none."""
    per_target = [t.error(outputs[t.target.name], rows) for t in target_tensors]
    values = [value for value in per_target if value is not None]
    if not values:
        return float("nan"), float("nan")
    return (
        sum(error for error, _ in values) / len(values),
        sum(loss for _, loss in values) / len(values),
    )


def _tensor(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
