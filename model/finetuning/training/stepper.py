"""Takes optimiser steps, each on a batch in micro-batches that fit the memory."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from model.arrays import Indices
from model.finetuning.data.augmentation import PRESETS, augmented, centre_crop, draw_parameters
from model.finetuning.data.device_images import DeviceImages
from model.finetuning.network.layers import parameter_groups
from model.finetuning.network.losses import TargetTensors, total_loss
from model.finetuning.network.network import Network, trainable_parameters
from model.finetuning.options import Options
from model.finetuning.training.distributed import ProcessGroup
from model.micro_batches import MicroBatches

WARM_UP = 0.1  # share of the steps in which the learning rates rise
MAX_GRADIENT_NORM = 1.0  # gradients are clipped to it


class Stepper:
    """The optimiser and an exponential moving average of the weights."""

    def __init__(
        self,
        network: Network,
        target_tensors: Sequence[TargetTensors],
        images: DeviceImages,
        options: Options,
        group: ProcessGroup,
        *,
        rate: float,
        steps: int,
        micro_batches: MicroBatches,
    ) -> None:
        self.network = network
        self.parameters = trainable_parameters(network)
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.steps = steps
        self.micro_batches = micro_batches
        self._targets, self._images, self._options, self._group = (
            target_tensors,
            images,
            options,
            group,
        )
        self._groups = parameter_groups(network, rate, options)
        self._optimiser = torch.optim.AdamW(self._groups)

    def step(self, number: int, batch: Indices, before_part: Callable[[], None]) -> float:
        """Take one step on the rows `batch`; return their mean loss.

        `before_part` is called before each micro-batch, and may raise.
        """
        augmented_images = self._augmented_images(number, batch)
        batch_rows = torch.from_numpy(batch).to(self._images.device)
        own_positions = list(range(len(batch)))[self._group.rank :: self._group.size]
        loss = 0.0
        self.network.train()

        def part(positions: Sequence[int]) -> None:
            nonlocal loss
            before_part()
            with self._images.autocast():
                outputs = self.network(augmented_images(positions))
            rows = batch_rows[list(positions)]
            value = total_loss(self._targets, outputs, rows, batch_rows, self._options.smoothing)
            value.backward()  # type: ignore[no-untyped-call]
            loss += float(value.detach())

        while True:
            loss = 0.0
            self._optimiser.zero_grad(set_to_none=True)
            torch.manual_seed(_seed(self._options.seed, number, 1 + self._group.rank))
            if self.micro_batches.run(own_positions, part):
                break
            self._images.release()
        loss = self._group.all_reduce_gradients(list(self.parameters.values()), loss)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), MAX_GRADIENT_NORM)
        self._set_rates(number)
        if torch.isfinite(norm):  # one bad batch mustn't make all weights NaN
            self._optimiser.step()
        self._update_average(number)
        return loss

    def state(self) -> dict[str, torch.Tensor]:
        """Return all tensors that the next step depends on."""
        state = {f"now.{n}": p.detach() for n, p in self.parameters.items()}
        state |= {f"average.{n}": t for n, t in self.average.items()}
        for name, parameter in self.parameters.items():
            for key, value in self._optimiser.state[parameter].items():
                state[f"adam.{key}.{name}"] = value
        return state

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the tensors of `state`."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state[f"now.{name}"])
                self.average[name].copy_(state[f"average.{name}"])
                moments: dict[str, Any] = {}
                for key in ("step", "exp_avg", "exp_avg_sq"):
                    # A parameter that the network doesn't use has no gradient, and so no moments.
                    value = state.get(f"adam.{key}.{name}")
                    if value is None:
                        break
                    # AdamW counts its steps on the CPU.
                    moments[key] = (
                        value.clone() if key == "step" else value.to(parameter, copy=True)
                    )
                if moments:
                    self._optimiser.state[parameter] = moments

    def _augmented_images(
        self, number: int, batch: Indices
    ) -> Callable[[Sequence[int]], torch.Tensor]:
        """Return a function from positions in the batch to their augmented images.

        The random parameters of an image depend on neither micro-batches nor processes.
        """
        stored, preset = self._images, PRESETS[self._options.augment]
        generator = torch.Generator().manual_seed(_seed(self._options.seed, number, 0))
        parameters = draw_parameters(len(batch), stored.stored_size, stored.size, preset, generator)

        def images(positions: Sequence[int]) -> torch.Tensor:
            pixels = stored.pixels(batch[list(positions)])
            if preset == PRESETS["none"]:
                return stored.normalised(centre_crop(pixels, stored.size))
            part = parameters.part(list(positions))
            return stored.normalised(augmented(pixels, stored.size, part))

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
    def _update_average(self, number: int) -> None:
        # A smaller decay at first: the initial weights would dominate the average for long.
        decay = min(self._options.ema_decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), 1 - decay)


def _seed(seed: int, step: int, stream: int) -> int:
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1)[0])
