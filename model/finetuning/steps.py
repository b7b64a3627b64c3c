"""One step of training: a batch in parts that fit the memory, then one move of the weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from model.arrays import Indices
from model.finetuning.data.augmentation import PRESETS, draw, middle, varied
from model.finetuning.data.view import View
from model.finetuning.memory import Parts
from model.finetuning.network.layers import parameter_groups
from model.finetuning.network.losses import Truth, total_loss
from model.finetuning.network.network import Network, trained
from model.finetuning.shared import Team
from model.finetuning.terms import Options

WARM_UP = 0.1  # share of the steps in which the rates rise
LARGEST_GRADIENT = 1.0  # norm that gradients are cut to


class Stepper:
    """The optimiser, the averaged weights, and what moves both."""

    def __init__(
        self,
        network: Network,
        truths: Sequence[Truth],
        view: View,
        options: Options,
        team: Team,
        *,
        rate: float,
        steps: int,
        parts: Parts,
    ) -> None:
        self.network = network
        self.parameters = trained(network)
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.steps = steps
        self.parts = parts
        self._truths, self._view, self._options, self._team = truths, view, options, team
        self._groups = parameter_groups(network, rate, options)
        self._optimiser = torch.optim.AdamW(self._groups)

    def step(self, number: int, batch: Indices, before_part: Callable[[], None]) -> float:
        """Move the weights by the batch's gradient; its mean loss. `before_part` may raise."""
        images = self._images(number, batch)
        places = torch.from_numpy(batch).to(self._view.device)
        mine = list(range(len(batch)))[self._team.rank :: self._team.size]
        loss = 0.0
        self.network.train()

        def part(positions: Sequence[int]) -> None:
            nonlocal loss
            before_part()
            with self._view.autocast():
                outputs = self.network(images(positions))
            rows = places[list(positions)]
            value = total_loss(self._truths, outputs, rows, places, self._options.smoothing)
            value.backward()  # type: ignore[no-untyped-call]
            loss += float(value.detach())

        while True:
            loss = 0.0
            self._optimiser.zero_grad(set_to_none=True)
            torch.manual_seed(_seed(self._options.seed, number, 1 + self._team.rank))
            if self.parts.run(mine, part):
                break
            self._view.release()
        loss = self._team.add_gradients(list(self.parameters.values()), loss)
        length = torch.nn.utils.clip_grad_norm_(self.parameters.values(), LARGEST_GRADIENT)
        self._set_rates(number)
        if torch.isfinite(length):  # one spoilt batch mustn't spoil all weights
            self._optimiser.step()
        self._follow(number)
        return loss

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next step depends on."""
        state = {f"now.{n}": p.detach() for n, p in self.parameters.items()}
        state |= {f"average.{n}": t for n, t in self.average.items()}
        for name, parameter in self.parameters.items():
            for key, value in self._optimiser.state[parameter].items():
                state[f"adam.{key}.{name}"] = value
        return state

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state[f"now.{name}"])
                self.average[name].copy_(state[f"average.{name}"])
                kept: dict[str, Any] = {}
                for key in ("step", "exp_avg", "exp_avg_sq"):
                    # One that the network doesn't use never had a gradient, and so no moments.
                    value = state.get(f"adam.{key}.{name}")
                    if value is None:
                        break
                    # AdamW counts its steps on the CPU.
                    kept[key] = value.clone() if key == "step" else value.to(parameter, copy=True)
                if kept:
                    self._optimiser.state[parameter] = kept

    def _images(self, number: int, batch: Indices) -> Callable[[Sequence[int]], torch.Tensor]:
        """What gives the varied images at some positions of the batch.

        What is drawn for an image depends on neither the parts nor the processes.
        """
        view, how = self._view, PRESETS[self._options.augment]
        generator = torch.Generator().manual_seed(_seed(self._options.seed, number, 0))
        draws = draw(len(batch), view.stored_size, view.size, how, generator)

        def images(positions: Sequence[int]) -> torch.Tensor:
            pixels = view.pixels(batch[list(positions)])
            if how == PRESETS["none"]:
                return view.normalised(middle(pixels, view.size))
            return view.normalised(varied(pixels, view.size, draws.part(list(positions))))

        return images

    def _set_rates(self, number: int) -> None:
        done = (number + 1) / self.steps
        factor = (
            done / WARM_UP
            if done < WARM_UP
            else 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
        )
        for group in self._groups:
            group["lr"] = group["peak"] * factor

    @torch.no_grad()
    def _follow(self, number: int) -> None:
        # At first the average forgets faster, or the start would weigh on it for long.
        decay = min(self._options.ema_decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), 1 - decay)


def _seed(seed: int, step: int, of: int) -> int:
    return int(np.random.SeedSequence([seed, step, of]).generate_state(1)[0])
