"""Moves stored images to the device and runs the network on them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.arrays import Ints
from model.backbones import BackboneSpec
from model.finetuning.data.augmentation import centre_crop
from model.finetuning.data.image_store import stored_spec
from model.finetuning.network.layers import is_transformer
from model.micro_batches import MicroBatches


def full_image_spec(backbone: nn.Module, spec: BackboneSpec) -> BackboneSpec:
    """The spec of the fine-tuned backbone: it reads the whole square, without the centre crop.

    What annotators judge by may lie at the edge that the crop of the pretraining cuts off. A
    network that takes only its own input size keeps the crop.
    """
    whole = stored_spec(spec)
    parameter = next(backbone.parameters(), None)
    if whole == spec or parameter is None or is_transformer(backbone):
        return spec
    with torch.no_grad():
        try:
            width = backbone(parameter.new_zeros(1, 3, *whole.shape)).shape[-1]
        except RuntimeError:  # a layer after the flattening counts on the number of pixels
            return spec
    return whole if width == spec.dim else spec


@dataclass(frozen=True, eq=False)
class DeviceImages:
    """Stored images, normalised and in batches on `device`."""

    stored: NDArray[np.uint8]  # [N, H, W, 3]
    spec: BackboneSpec
    device: torch.device
    bfloat16: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the backbone's input."""
        return self.spec.shape

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of the stored images."""
        return self.stored.shape[1], self.stored.shape[2]

    def autocast(self) -> AbstractContextManager[None]:
        """A context of mixed precision, if that was chosen; weights stay float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def pixels(self, rows: Ints) -> torch.Tensor:
        """uint8 [n, 3, H, W] of stored rows, channels last, on the device."""
        pixels = torch.from_numpy(np.asarray(self.stored[rows]))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        return pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise images [n, 3, h, w] in 0 to 1 by the backbone's mean and deviation."""
        mean, std = (
            torch.tensor(v, device=self.device).view(1, 3, 1, 1)
            for v in (self.spec.mean, self.spec.std)
        )
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def outputs(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        rows: Ints,
        micro_batches: MicroBatches,
        before_part: Callable[[int], None],
    ) -> torch.Tensor:
        """float32 [n, …] of the network for the rows' images, without augmentation, on the CPU.

        `before_part` is called before each micro-batch with the number of images done; it may
        raise.
        """
        batches: list[torch.Tensor] = []

        def part(positions: Sequence[int]) -> None:
            before_part(positions[0])
            with torch.inference_mode(), self.autocast():
                pixels = self.pixels(rows[list(positions)])
                batches.append(
                    network(self.normalised(centre_crop(pixels, self.size))).float().cpu()
                )

        while not micro_batches.run(range(len(rows)), part):
            batches.clear()
            self.release()
        return torch.cat(batches)

    def release(self) -> None:
        """Free the device memory that torch's allocator caches."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
