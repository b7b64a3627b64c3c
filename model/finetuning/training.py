"""From the pretrained network to the tuned one: the loop, its evaluations and its checkpoints."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from model.arrays import Indices
from model.finetuning import checkpoint
from model.finetuning.data.batches import Batches
from model.finetuning.data.view import View
from model.finetuning.memory import Parts
from model.finetuning.network.losses import Truth, mean_error
from model.finetuning.network.network import Network
from model.finetuning.shared import Team
from model.finetuning.steps import Stepper
from model.finetuning.terms import Cancelled, Evaluation, Options, Progress

CHECKPOINT = "checkpoint.safetensors"
RECENT = 10  # steps that the reported loss and speed are the mean of


@dataclass(frozen=True, eq=False)
class Talk:
    """How training speaks with its caller."""

    report: Callable[[Progress], None]
    stop: Callable[[], bool]

    def check(self) -> None:
        """Raises Cancelled when the caller wants it to end."""
        if self.stop():
            raise Cancelled


@dataclass(frozen=True, eq=False)
class Trial:
    """The network on the validation rows."""

    view: View
    truths: tuple[Truth, ...]
    rows: Indices  # that are validated on and readable
    parts: Parts

    def outputs(
        self, network: Network, before_part: Callable[[int], None]
    ) -> dict[str, torch.Tensor]:
        """[V, C] of each target on the CPU."""
        widths = [t.target.width for t in self.truths]
        network.eval()

        def joined(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([o.float() for o in network(x).values()], dim=1)

        if not len(self.rows):
            joint = torch.empty(0, sum(widths))
        else:
            joint = self.view.outputs(joined, self.rows, self.parts, before_part)
        parts = torch.split(joint, widths, 1)
        return {t.target.name: o for t, o in zip(self.truths, parts, strict=True)}

    def evaluate(
        self, outputs: Mapping[str, torch.Tensor], step: int, share: float = 1.0
    ) -> Evaluation:
        """How good these outputs are."""
        device = self.view.device
        there = {name: o.to(device) for name, o in outputs.items()}
        rows = torch.from_numpy(self.rows).to(device)
        return Evaluation(step, *mean_error(self.truths, there, rows), share)


class Training:
    """Steps from the start, or from the checkpoint in the folder, to the last or an early end."""

    def __init__(
        self,
        stepper: Stepper,
        batches: Batches,
        trial: Trial,
        options: Options,
        team: Team,
        folder: Path,
        talk: Talk,
    ) -> None:
        self.history: list[Evaluation] = []
        self.best = {n: t.clone() for n, t in stepper.average.items()}
        self.best_at: Evaluation | None = None
        self._stepper, self._batches, self._trial = stepper, batches, trial
        self._options, self._team, self._talk = options, team, talk
        self._path = folder / CHECKPOINT
        self._step = 0
        self._ended = False
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # loss, seconds

    def run(self) -> None:
        """Train; then `best` holds the averaged weights that did best."""
        self._resume()
        steps = self._stepper.steps
        evaluate_every = max(1, math.ceil(steps / self._options.evaluations))
        save_every = max(1, steps // self._options.checkpoints)
        while self._step < steps and not self._ended:
            began = time.monotonic()
            batch = self._batches.at(self._step)
            loss = self._stepper.step(self._step, batch, self._talk.check)
            self._step += 1
            self._recent.append((loss, time.monotonic() - began))
            self._say(len(batch))
            if self._step % evaluate_every == 0 or self._step == steps:
                self._ended = self._team.agree(self._evaluate(), self._trial.view.device)
            if self._team.first and (
                self._step % save_every == 0 or self._ended or self._step == steps
            ):
                self._save()
        self._team.wait()

    def _evaluate(self) -> bool:
        """Keep the averaged weights if they are the best so far. True to end early."""
        if not self._team.first:
            return False
        if not len(self._trial.rows):
            self._keep(Evaluation(self._step, float("nan"), float("nan")))
            return False
        with averaged(self._stepper):
            outputs = self._trial.outputs(self._stepper.network, lambda _: self._talk.check())
        found = self._trial.evaluate(outputs, self._step)
        self.history.append(found)
        if self.best_at is None or math.isnan(found.error) or better(found, self.best_at):
            self._keep(found)
        kept = self.best_at.step if self.best_at else 0
        return sum(e.step > kept for e in self.history) >= self._options.patience

    def _keep(self, found: Evaluation) -> None:
        self.best = {n: t.clone() for n, t in self._stepper.average.items()}
        self.best_at = found

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
        found = checkpoint.read(self._path)
        if found is None:
            return
        tensors, facts = found
        self._stepper.restore(tensors)
        device = self._trial.view.device
        self.best = {n: t.to(device) for n, t in checkpoint.part(tensors, "best.").items()}
        self.history = [Evaluation(**e) for e in facts["history"]]
        self.best_at = Evaluation(**facts["best_at"]) if facts["best_at"] else None
        self._step, self._ended = facts["step"], facts["ended"]

    def _say(self, batch: int) -> None:
        seconds = sum(s for _, s in self._recent) / len(self._recent)
        self._talk.report(
            Progress(
                step=self._step,
                steps=self._stepper.steps,
                loss=sum(loss for loss, _ in self._recent) / len(self._recent),
                images_per_second=batch / max(seconds, 1e-9),
                seconds_left=(self._stepper.steps - self._step) * seconds,
                phase="training",
            )
        )


def better(found: Evaluation, than: Evaluation) -> bool:
    """Fewer errors; of as many, the smaller loss."""
    return (found.error, found.loss) < (than.error, than.loss)


@contextmanager
def averaged(stepper: Stepper) -> Iterator[None]:
    """The network has the averaged weights meanwhile."""
    with weights(stepper, stepper.average):
        yield


@contextmanager
def weights(stepper: Stepper, values: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """The network has these weights meanwhile."""
    own = {n: p.detach().clone() for n, p in stepper.parameters.items()}
    try:
        _set(stepper, values)
        yield
    finally:
        _set(stepper, own)


@torch.no_grad()
def _set(stepper: Stepper, values: Mapping[str, torch.Tensor]) -> None:
    for name, parameter in stepper.parameters.items():
        parameter.copy_(values[name])
