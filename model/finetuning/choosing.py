"""How far from the pretrained weights to go: WiSE-FT, on the validation rows.

Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022: on the line between the weights
before and after there is often a network better than either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from model.finetuning.network.network import Network
from model.finetuning.terms import Evaluation
from model.finetuning.training import Trial, better

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Choice:
    """The network that is kept, and what it says of the validation rows."""

    state: State
    outputs: Mapping[str, torch.Tensor]
    evaluation: Evaluation
    tried: tuple[Evaluation, ...]


def choose(
    network: Network,
    start: State,
    trial: Trial,
    step: int,
    before: Callable[[int, int], None],
) -> Choice:
    """The best of SHARES of the way from `start` to the network's weights; ties to the farther.

    Without validation rows all of the way. `before` gets how many images are done, and of how many;
    it may raise.
    """
    tuned = {name: value.detach().clone() for name, value in network.state_dict().items()}
    shares = SHARES if len(trial.rows) else SHARES[:1]
    total = len(shares) * len(trial.rows)
    kept: Choice | None = None
    tried = []
    for number, share in enumerate(shares):
        state = between(start, tuned, share)
        network.load_state_dict(state)
        done = number * len(trial.rows)
        outputs = trial.outputs(network, lambda part, done=done: before(done + part, total))  # type: ignore[misc]
        found = trial.evaluate(outputs, step, share)
        tried.append(found)
        if kept is None or better(found, kept.evaluation):
            kept = Choice(state, outputs, found, ())
    assert kept is not None, "there is a first share"
    network.load_state_dict(kept.state)
    return Choice(kept.state, kept.outputs, kept.evaluation, tuple(tried))


def between(start: State, end: State, share: float) -> dict[str, torch.Tensor]:
    """Weights at `share` of the way; what isn't a float (counters) is the end's."""

    def weight(name: str, value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        begin = start[name].to(value)
        # An end that ran away mustn't spoil the start: 0 × NaN is NaN.
        return begin if share == 0 else begin.lerp(value, share)

    return {name: weight(name, value) for name, value in end.items()}
