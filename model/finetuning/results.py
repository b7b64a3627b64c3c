"""The result of a fine-tuning, its evaluations, and its error."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model.arrays import Float32s


class CannotFinetuneError(ValueError):
    """The labels, the backbone or the disk don't suit. The message says what to do."""


@dataclass(frozen=True)
class Evaluation:
    """The error and loss of the averaged weights on the validation rows."""

    step: int
    error: float  # mean over targets: error rate, or mean absolute error / standard deviation
    loss: float  # mean over targets: log-loss, or mean squared error / variance
    share: float = 1.0  # of the way from the pretrained weights to the tuned ones


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A fine-tuned backbone in a file, with its outputs for the validation rows."""

    path: Path  # safetensors; `model.backbones.families.tuned.install` adds it to the backbones
    digest: str  # SHA-256 of the file: the backbone "tuned:DIGEST"
    method: str
    history: tuple[Evaluation, ...]  # in order; the last one is of the weights in the file
    validation_outputs: Mapping[str, Float32s]  # by target, [V, C] logits or [V, 1]
    unreadable: tuple[int, ...]  # rows whose image couldn't be loaded; their outputs are NaN
