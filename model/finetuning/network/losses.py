"""What is minimised, and what is counted on the validation rows; rows without an answer are out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model.arrays import Bools, Float32s
from model.finetuning.terms import Target


@dataclass(frozen=True, eq=False)
class Truth:
    """A target's answers as the network learns them."""

    target: Target
    y: torch.Tensor  # single: [N] indices; multi: [N, C]; number: [N, 1], standardised
    known: torch.Tensor  # of the same shape: 1.0 where there is an answer
    mean: float = 0.0  # of a number's training rows
    deviation: float = 1.0

    @classmethod
    def of(cls, target: Target, training: Bools, device: torch.device) -> "Truth":
        """The answers of all rows; a number is standardised by its `training` rows [N]."""
        y = np.asarray(target.y)
        if target.kind == "single":
            known = y >= 0
            filled = np.where(known, y, 0).astype(np.int64)
            return cls(target, _tensor(filled, device), _tensor(known.astype(np.float32), device))
        y = y.astype(np.float32).reshape(len(y), -1)
        known = np.isfinite(y) & ((y >= 0) | (target.kind == "number"))
        mean, deviation = 0.0, 1.0
        if target.kind == "number" and (known[:, 0] & training).any():
            learned = y[known[:, 0] & training, 0]
            mean, deviation = float(learned.mean()), float(learned.std()) or 1.0
        filled = np.where(known, (y - mean) / deviation, 0.0).astype(np.float32)
        known = known.astype(np.float32)
        return cls(target, _tensor(filled, device), _tensor(known, device), mean, deviation)

    def weight(self, rows: torch.Tensor) -> float:
        """How many answers these rows hold."""
        return float(self.known[rows].sum())

    def loss(self, outputs: torch.Tensor, rows: torch.Tensor, smoothing: float) -> torch.Tensor:
        """The summed loss of the answers: cross-entropy, or Huber's for a number."""
        y, known = self.y[rows], self.known[rows]
        if self.target.kind == "single":
            each = functional.cross_entropy(outputs, y, reduction="none", label_smoothing=smoothing)
        elif self.target.kind == "multi":
            each = functional.binary_cross_entropy_with_logits(outputs, y, reduction="none")
        else:
            each = functional.smooth_l1_loss(outputs, y, reduction="none")
        return (each * known).sum()

    def error(self, outputs: torch.Tensor, rows: torch.Tensor) -> tuple[float, float] | None:
        """(error, loss) as `Evaluation` has them; None without an answer.

        Both are infinite where an output is not finite: such a network is none to keep.
        """
        y, known = self.y[rows], self.known[rows]
        count = float(known.sum())
        if not count:
            return None
        if not outputs.isfinite().all():
            return math.inf, math.inf
        if self.target.kind == "number":
            gap = (outputs - y) * known
            return float(gap.abs().sum()) / count, float(gap.square().sum()) / count
        wrong = outputs.argmax(1) != y if self.target.kind == "single" else (outputs > 0) != (y > 0)
        loss = float(self.loss(outputs, rows, 0.0)) / count
        return float((wrong * known).sum()) / count, loss

    def stated(self, outputs: torch.Tensor) -> Float32s:
        """Outputs [N, C] in the target's own terms: logits, or numbers in their unit."""
        values = outputs * self.deviation + self.mean if self.target.kind == "number" else outputs
        stated: Float32s = values.float().cpu().numpy()
        return stated


def total_loss(
    truths: Sequence[Truth],
    outputs: Mapping[str, torch.Tensor],
    rows: torch.Tensor,
    batch: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    """The part that `rows` have in the mean loss of the whole `batch`, summed over targets.

    So the parts' gradients add up to the batch's, however it was cut.
    """
    parts = [
        t.loss(outputs[t.target.name], rows, smoothing) / max(t.weight(batch), 1.0) for t in truths
    ]
    return torch.stack(parts).sum()


def mean_error(
    truths: Sequence[Truth], outputs: Mapping[str, torch.Tensor], rows: torch.Tensor
) -> tuple[float, float]:
    """(error, loss), each the mean over the targets that have answers in `rows`; NaN if none."""
    found = [t.error(outputs[t.target.name], rows) for t in truths]
    values = [value for value in found if value is not None]
    if not values:
        return float("nan"), float("nan")
    return (
        sum(error for error, _ in values) / len(values),
        sum(loss for _, loss in values) / len(values),
    )


def _tensor(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
