"""The training loop, with validation, early stopping and checkpoints."""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from model.finetuning.data.batches import Batches
from model.finetuning.options import Options
from model.finetuning.progress import Callbacks, Progress
from model.finetuning.results import Evaluation
from model.finetuning.training import checkpoint
from model.finetuning.training.distributed import ProcessGroup
from model.finetuning.training.stepper import Stepper
from model.finetuning.training.validation import Validator, is_better

CHECKPOINT = "checkpoint.safetensors"
RECENT = 10  # steps over which the reported loss and speed are averaged


class TrainingLoop:
    """Trains from the start, or from the folder's checkpoint, to the last step or an early stop."""

    def __init__(
        self,
        stepper: Stepper,
        batches: Batches,
        validator: Validator,
        options: Options,
        group: ProcessGroup,
        folder: Path,
        callbacks: Callbacks,
    ) -> None:
        self.history: list[Evaluation] = []
        self.best = {n: t.clone() for n, t in stepper.average.items()}
        self.best_at: Evaluation | None = None
        self._stepper, self._batches, self._validator = stepper, batches, validator
        self._options, self._group, self._callbacks = options, group, callbacks
        self._path = folder / CHECKPOINT
        self._step = 0
        self._ended = False
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # loss, seconds

    def run(self) -> None:
        """Train; afterwards `best` has the averaged weights of the best evaluation."""
        self._resume()
        steps = self._stepper.steps
        evaluate_every = max(1, math.ceil(steps / self._options.evaluations))
        save_every = max(1, steps // self._options.checkpoints)
        while self._step < steps and not self._ended:
            began = time.monotonic()
            batch = self._batches.at(self._step)
            loss = self._stepper.step(self._step, batch, self._callbacks.check)
            self._step += 1
            self._recent.append((loss, time.monotonic() - began))
            self._report(len(batch))
            if self._step % evaluate_every == 0 or self._step == steps:
                self._ended = self._group.broadcast(self._evaluate(), self._validator.images.device)
            if self._group.is_first and (
                self._step % save_every == 0 or self._ended or self._step == steps
            ):
                self._save()
        self._group.barrier()

    def _evaluate(self) -> bool:
        """Evaluate; remember the averaged weights if they are the best. True to stop early."""
        if not self._group.is_first:
            return False
        if not len(self._validator.rows):
            self._set_best(Evaluation(self._step, float("nan"), float("nan")))
            return False
        with use_averaged_weights(self._stepper):
            outputs = self._validator.outputs(
                self._stepper.network, lambda _: self._callbacks.check()
            )
        evaluation = self._validator.evaluate(outputs, self._step)
        self.history.append(evaluation)
        if (
            self.best_at is None
            or math.isnan(evaluation.error)
            or is_better(evaluation, self.best_at)
        ):
            self._set_best(evaluation)
        best_step = self.best_at.step if self.best_at else 0
        return sum(e.step > best_step for e in self.history) >= self._options.patience

    def _set_best(self, evaluation: Evaluation) -> None:
        self.best = {n: t.clone() for n, t in self._stepper.average.items()}
        self.best_at = evaluation

    def _save(self) -> None:
        tensors = self._stepper.state() | checkpoint.prefixed("best.", self.best)
        facts = {
            "step": self._step,
            "ended": self._ended,
            "history": [asdict(e) for e in self.history],
            "best_at": asdict(self.best_at) if self.best_at else None,
        }
        checkpoint.write(self._path, tensors, facts)

    def _resume(self) -> None:
        saved = checkpoint.read(self._path)
        if saved is None:
            return
        tensors, facts = saved
        self._stepper.restore(tensors)
        device = self._validator.images.device
        self.best = {
            n: t.to(device) for n, t in checkpoint.without_prefix(tensors, "best.").items()
        }
        self.history = [Evaluation(**e) for e in facts["history"]]
        self.best_at = Evaluation(**facts["best_at"]) if facts["best_at"] else None
        self._step, self._ended = facts["step"], facts["ended"]

    def _report(self, batch: int) -> None:
        seconds = sum(s for _, s in self._recent) / len(self._recent)
        self._callbacks.report(
            Progress(
                step=self._step,
                steps=self._stepper.steps,
                loss=sum(loss for loss, _ in self._recent) / len(self._recent),
                images_per_second=batch / max(seconds, 1e-9),
                seconds_left=(self._stepper.steps - self._step) * seconds,
                phase="training",
            )
        )


@contextmanager
def use_averaged_weights(stepper: Stepper) -> Iterator[None]:
    """Use the averaged weights in the network within the `with` block."""
    with use_weights(stepper, stepper.average):
        yield


@contextmanager
def use_weights(stepper: Stepper, values: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Use these weights in the network within the `with` block."""
    own = {n: p.detach().clone() for n, p in stepper.parameters.items()}
    try:
        _set_weights(stepper, values)
        yield
    finally:
        _set_weights(stepper, own)


@torch.no_grad()
def _set_weights(stepper: Stepper, values: Mapping[str, torch.Tensor]) -> None:
    for name, parameter in stepper.parameters.items():
        parameter.copy_(values[name])
