"""Where and how images are computed: device, precision, and the pixels on their way there."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.arrays import Ints
from model.backbones import BackboneSpec
from model.finetuning.data.augmentation import middle
from model.finetuning.data.images import stored_spec
from model.finetuning.memory import Parts
from model.finetuning.network.layers import is_transformer


def whole_view(backbone: nn.Module, spec: BackboneSpec) -> BackboneSpec:
    """How the tuned network reads images: all of a square one, at the scale that it knows.

    What annotators judge by may lie at the edge that the crop of the pretraining cuts off. A
    network that takes only its own size keeps the crop.
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
class View:
    """The stored pixels as a network on `device` sees them."""

    stored: NDArray[np.uint8]  # [N, H, W, 3]
    spec: BackboneSpec
    device: torch.device
    bfloat16: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the backbone reads."""
        return self.spec.shape

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of what is stored."""
        return self.stored.shape[1], self.stored.shape[2]

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision where it was chosen: weights stay float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def pixels(self, rows: Ints) -> torch.Tensor:
        """Bytes [n, 3, H, W] of stored rows, channels last, on the device."""
        pixels = torch.from_numpy(np.asarray(self.stored[rows]))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        return pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Images [n, 3, h, w] in 0 to 1 as the backbone was trained to read them."""
        mean, std = (
            torch.tensor(v, device=self.device).view(1, 3, 1, 1)
            for v in (self.spec.mean, self.spec.std)
        )
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def outputs(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        rows: Ints,
        parts: Parts,
        before_part: Callable[[int], None],
    ) -> torch.Tensor:
        """float32 [n, …] of the network for the rows' images as they are served, on the CPU.

        `before_part` gets how many are done, and may raise.
        """
        found: list[torch.Tensor] = []

        def part(positions: Sequence[int]) -> None:
            before_part(positions[0])
            with torch.inference_mode(), self.autocast():
                pixels = self.pixels(rows[list(positions)])
                found.append(network(self.normalised(middle(pixels, self.size))).float().cpu())

        while not parts.run(range(len(rows)), part):
            found.clear()
            self.release()
        return torch.cat(found)

    def release(self) -> None:
        """Give back what the device's allocator holds unused."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
