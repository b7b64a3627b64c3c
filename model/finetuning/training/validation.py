"""Evaluates the network on the validation rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from model.arrays import Indices
from model.finetuning.data.device_images import DeviceImages
from model.finetuning.network.losses import TargetTensors, mean_error
from model.finetuning.network.network import Network
from model.finetuning.results import Evaluation
from model.micro_batches import MicroBatches


@dataclass(frozen=True, eq=False)
class Validator:
    """Runs and evaluates the network on the validation rows."""

    images: DeviceImages
    target_tensors: tuple[TargetTensors, ...]
    rows: Indices  # [V] of the validation images that could be read
    micro_batches: MicroBatches

    def outputs(
        self, network: Network, before_part: Callable[[int], None]
    ) -> dict[str, torch.Tensor]:
        """Return {target: outputs [V, C]} on the CPU; see `DeviceImages.outputs`."""
        widths = [t.target.width for t in self.target_tensors]
        network.eval()

        def joined(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([o.float() for o in network(x).values()], dim=1)

        if not len(self.rows):
            joint = torch.empty(0, sum(widths))
        else:
            joint = self.images.outputs(joined, self.rows, self.micro_batches, before_part)
        parts = torch.split(joint, widths, 1)
        return {t.target.name: o for t, o in zip(self.target_tensors, parts, strict=True)}

    def evaluate(
        self, outputs: Mapping[str, torch.Tensor], step: int, share: float = 1.0
    ) -> Evaluation:
        """Return the error and loss of these outputs."""
        device = self.images.device
        on_device = {name: o.to(device) for name, o in outputs.items()}
        rows = torch.from_numpy(self.rows).to(device)
        return Evaluation(step, *mean_error(self.target_tensors, on_device, rows), share)


def is_better(first: Evaluation, second: Evaluation) -> bool:
    """Whether the first has a smaller error, or the same and a smaller loss."""
    return (first.error, first.loss) < (second.error, second.loss)
