"""What fine-tuning takes and what it says: plain data. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s

Method = Literal["auto", "full", "stages", "last", "lora"]
Kind = Literal["single", "multi", "number"]


class Cancelled(Exception):  # noqa: N818 - named for what happened, as callers read it
    """The caller's `stop` said so. What the folder holds goes on from there."""


class CannotFinetuneError(ValueError):
    """These labels, or this backbone, can't be fine-tuned on. The message says what to do."""


@dataclass(frozen=True, eq=False)
class Target:
    """One thing to learn of each image. Rows without an answer have −1 or NaN."""

    name: str
    kind: Kind
    classes: tuple[str, ...]  # in the order of outputs; empty for a number
    y: NDArray[Any]  # single: [N] indices; multi: [N, C] of 0 and 1; number: [N]

    @property
    def width(self) -> int:
        """How many outputs the network has for it."""
        return 1 if self.kind == "number" else len(self.classes)

    def known(self) -> Bools:
        """Which rows [N] have an answer, or part of one."""
        y: NDArray[Any] = np.asarray(self.y)
        known: Bools = np.isfinite(y)
        if self.kind != "number":
            known = known & (y >= 0)
        rows: Bools = np.any(known.reshape(len(known), -1), axis=1)
        return rows


@dataclass(frozen=True)
class Options:
    """How to fine-tune. None: what suits the labels and the machine."""

    method: Method = "auto"  # what of the backbone is trained, see `model.finetuning.layers`
    augment: str = "gentle"  # a name of `model.finetuning.augmentation.PRESETS`
    epochs: float | None = None  # passes over the training rows
    batch_size: int | None = None  # rows a step
    micro_batch: int | None = None  # rows computed at a time; the rest is accumulated
    learning_rate: float | None = None  # of the layers next to the head
    head_rate: float = 3e-4
    layer_decay: float | None = None  # the rate falls by this with every twelfth of the depth
    weight_decay: float = 0.05
    smoothing: float = 0.1  # of single labels: this share of the target is spread over all classes
    balance: float = 0.5  # rows are drawn by (class size) ** −balance: 0 as they come, 1 evenly
    ema_decay: float = 0.999
    evaluations: int = 6  # on the validation rows, evenly over the run
    patience: int = 3  # evaluations in a row without a gain after which training ends
    seed: int = 0
    device: str = "auto"  # auto, cpu or cuda
    precision: str = "auto"  # auto, float32 or bfloat16
    threads: int | None = None  # of the CPU
    processes: int | None = None  # that share the batches; None: one a GPU
    checkpoints: int = 20  # evenly over the run: what a kill costs is at most 1 / this of it


@dataclass(frozen=True)
class Progress:
    """How far it is. A phase is "images", "features", "training" or "choosing"."""

    step: int  # of `steps` in this phase
    steps: int
    loss: float | None  # mean of the latest steps; None where there is none
    images_per_second: float
    seconds_left: float | None  # of this phase; None while unknown
    phase: str


@dataclass(frozen=True)
class Evaluation:
    """What the averaged weights did on the validation rows. Lower is better for both."""

    step: int
    error: float  # mean over targets: share of wrong answers, or mean error over the deviation
    loss: float  # mean over targets: log-loss, or squared error over the variance
    share: float = 1.0  # of the way from the pretrained weights to the tuned ones


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A tuned backbone in a file, and what it said of the validation rows."""

    path: Path  # safetensors; `model.backbones.families.tuned.install` makes a backbone of it
    digest: str  # SHA-256 of the file: the backbone "tuned:DIGEST"
    method: str
    history: tuple[Evaluation, ...]  # in order; the last is of what was kept
    validation_outputs: Mapping[str, Float32s]  # by target, [V, C] logits or [V, 1]
    unreadable: tuple[int, ...]  # rows whose image couldn't be loaded: left out, NaN in outputs
