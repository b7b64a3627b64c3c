"""The targets and options of a fine-tuning."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools
from model.finetuning.results import CannotFinetuneError
from model.targets.kind import get_kind, learning_of
from model.targets.labels import EncodedLabels
from model.targets.tuning.loss import TuningLoss

Method = Literal["auto", "full", "stages", "last", "lora"]
NO_LOSS = "backbones are not fine-tuned on labels of the kind {!r}"


@dataclass(frozen=True, eq=False)
class Target:
    """The labels of one control. A row without a label has −1 or NaN."""

    name: str
    kind: str  # in `TARGETS`, of one that has a loss for fine-tuning
    classes: tuple[str, ...]  # in the order of outputs; empty for a number
    y: NDArray[Any]  # single: [N] indices; multi: [N, C] of 0 and 1; number: [N]

    @property
    def loss(self) -> TuningLoss:
        """The loss that is minimised. CannotFinetuneError when the kind has none."""
        loss = get_kind(self.kind).tuning
        if loss is None:
            raise CannotFinetuneError(f"{self.name}: {NO_LOSS.format(self.kind)}")
        return loss

    @property
    def width(self) -> int:
        """The number of the network's outputs for it."""
        return self.loss.width(self.classes)

    def labelled(self) -> Bools:
        """[N] whether a row has a label, or part of one."""
        present = self.loss.labelled(np.asarray(self.y))
        rows: Bools = np.any(present.reshape(len(present), -1), axis=1)
        return rows


def tuning_target(name: str, labels: EncodedLabels, count: int) -> tuple[Target | None, str | None]:
    """The target of a control's labels among `count` images; or None, and why there is none."""
    kind = learning_of(labels)
    if (reason := kind.reason(labels)) is not None:
        return None, reason
    if kind.tuning is None:
        return None, NO_LOSS.format(labels.kind)
    y = kind.tuning.of_all_rows(labels, count)
    return Target(name, labels.kind, labels.names, y), None


@dataclass(frozen=True)
class Options:
    """The options of a fine-tuning. None: chosen for the labels and the machine."""

    method: Method = "auto"  # which layers are trained, see `network.layers`
    augment: str = "gentle"  # a name of `data.augmentation.PRESETS`
    epochs: float | None = None  # passes over the training rows
    batch_size: int | None = None  # rows a step
    micro_batch: int | None = None  # rows computed at a time; the rest is accumulated
    learning_rate: float | None = None  # of the layers next to the head
    head_rate: float = 3e-4
    layer_decay: float | None = None  # factor of the rate for each twelfth of the depth
    weight_decay: float = 0.05
    smoothing: float = 0.1  # label smoothing of single labels
    balance: float = 0.5  # rows are drawn by (class size) ** −balance: 0 uniformly, 1 balanced
    ema_decay: float = 0.999
    evaluations: int = 6  # on the validation rows, evenly over the run
    patience: int = 3  # evaluations in a row without a gain after which training ends
    seed: int = 0
    device: str = "auto"  # auto, cpu or cuda
    precision: str = "auto"  # auto, float32 or bfloat16
    threads: int | None = None  # of the CPU
    processes: int | None = None  # that share the batches; None: one a GPU
    checkpoints: int = 20  # evenly over the run: a kill costs at most 1 / this of it
