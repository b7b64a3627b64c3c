"""Interpolates between the pretrained and the fine-tuned weights (WiSE-FT).

Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022: on the line between both there
is often a network better than either. The validation rows choose the point.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from model.finetuning.network.network import Network
from model.finetuning.results import Evaluation
from model.finetuning.training.validation import Validator, is_better

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Interpolation:
    """The best interpolated weights, their outputs for the validation rows, and all evaluations."""

    state: State
    outputs: Mapping[str, torch.Tensor]
    evaluation: Evaluation
    tried: tuple[Evaluation, ...]


def best_interpolation(
    network: Network,
    start: State,
    validator: Validator,
    step: int,
    before: Callable[[int, int], None],
) -> Interpolation:
    """Load and return the best of SHARES of the way from `start` to the network's weights.

    Ties go to the larger share; without validation rows it is 1. `before` gets the number of images
    done and of all images before each micro-batch; it may raise.
    """
    tuned = {name: value.detach().clone() for name, value in network.state_dict().items()}
    shares = SHARES if len(validator.rows) else SHARES[:1]
    total = len(shares) * len(validator.rows)
    best: Interpolation | None = None
    tried = []
    for number, share in enumerate(shares):
        state = interpolate(start, tuned, share)
        network.load_state_dict(state)
        done = number * len(validator.rows)
        outputs = validator.outputs(network, lambda part, done=done: before(done + part, total))  # type: ignore[misc]
        evaluation = validator.evaluate(outputs, step, share)
        tried.append(evaluation)
        if best is None or is_better(evaluation, best.evaluation):
            best = Interpolation(state, outputs, evaluation, ())
    assert best is not None, "there is a first share"
    network.load_state_dict(best.state)
    return Interpolation(best.state, best.outputs, best.evaluation, tuple(tried))


def interpolate(start: State, end: State, share: float) -> dict[str, torch.Tensor]:
    """Weights at `share` of the way from `start` to `end`; integers (counters) are the end's."""

    def weight(name: str, value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        begin = start[name].to(value)
        # 0 × NaN is NaN: where training diverged, a share of 0 must still give the start.
        return begin if share == 0 else begin.lerp(value, share)

    return {name: weight(name, value) for name, value in end.items()}
