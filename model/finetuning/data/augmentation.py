"""Augments a batch of images at once, on the device.

Which changes keep the label depends on the task (a mirrored digit is no digit), so a preset is
chosen by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """The ranges of an augmentation; each parameter is drawn uniformly."""

    shift: float = 0.0  # share of the side, beyond the margin of the crop
    zoom: tuple[float, float] = (1.0, 1.0)  # side of the visible part, 1 = the crop
    turn: float = 0.0  # up to this many degrees
    mirror: bool = False  # left and right
    upside_down: bool = False
    quarter_turns: bool = False
    light: float = 0.0  # brightness and contrast up to this share


PRESETS = {
    "none": Augmentation(),
    # For digits, text, left and right: nothing is mirrored.
    "gentle": Augmentation(shift=0.05, zoom=(0.9, 1.1), turn=5, light=0.1),
    "photo": Augmentation(shift=0.05, zoom=(0.7, 1.1), turn=10, mirror=True, light=0.2),
    # Microscopy, materials, views from above: no direction means anything.
    "texture": Augmentation(
        shift=0.05, zoom=(0.9, 1.1), mirror=True, upside_down=True, quarter_turns=True, light=0.1
    ),
}


def centre_crop(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The centre [N, 3, h, w] of bytes [N, 3, H, W], in 0 to 1, as without augmentation."""
    top, left = (
        round((have - want) / 2) for have, want in zip(pixels.shape[2:], size, strict=True)
    )
    return pixels[:, :, top : top + size[0], left : left + size[1]].float() / 255


@dataclass(frozen=True, eq=False)
class AugmentationParameters:
    """The parameters that were drawn for the N images of a batch."""

    affine: torch.Tensor  # [N, 2, 3] affine: output coordinates to coordinates in the stored image
    contrast: torch.Tensor  # [N, 1, 1, 1] factor
    brightness: torch.Tensor  # [N, 1, 1, 1] factor of the mean

    def part(self, which: Sequence[int]) -> "AugmentationParameters":
        """The parameters of some of the images."""
        chosen = list(which)
        return AugmentationParameters(
            self.affine[chosen], self.contrast[chosen], self.brightness[chosen]
        )


def draw_parameters(
    count: int,
    stored: tuple[int, int],
    size: tuple[int, int],
    augmentation: Augmentation,
    generator: torch.Generator,
) -> AugmentationParameters:
    """Draw parameters, on the CPU, for `count` images of (height, width) `stored` cut to `size`."""
    affine = _geometry(count, stored, size, augmentation, generator)
    contrast, brightness = (
        1 + augmentation.light * _uniform(generator, count, 1, 1, 1) for _ in range(2)
    )
    return AugmentationParameters(affine, contrast, brightness)


def augmented(
    pixels: torch.Tensor, size: tuple[int, int], parameters: AugmentationParameters
) -> torch.Tensor:
    """Bytes [N, 3, H, W] as an augmented crop [N, 3, h, w], in 0 to 1.

    One bilinear sampling does all of the geometry; outside the image it is mirrored.
    """
    x = pixels.float() / 255
    theta = parameters.affine.to(x)
    grid = functional.affine_grid(theta, [len(pixels), 3, *size], align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return ((x - mean) * parameters.contrast.to(x) + mean * parameters.brightness.to(x)).clamp(0, 1)


def _geometry(
    count: int,
    have: tuple[int, int],
    size: tuple[int, int],
    augmentation: Augmentation,
    generator: torch.Generator,
) -> torch.Tensor:
    """Affine matrices [N, 2, 3] of coordinates from −1 to 1, edge to edge, x before y."""
    crop = torch.tensor([size[1] / have[1], size[0] / have[0]])  # x, y
    low, high = augmentation.zoom
    zoom = low + (high - low) * (_uniform(generator, count, 1) + 1) / 2
    angle = _uniform(generator, count) * torch.pi / 180 * augmentation.turn
    # Sampling between pixels blurs fine structures: half of the images are shifted by whole pixels.
    sharp = torch.randint(2, (count,), generator=generator) == 1
    zoom[sharp], angle[sharp] = 1.0, 0.0
    shift = _uniform(generator, count, 2) * (
        (1 - crop * zoom).clamp(min=0) + 2 * augmentation.shift * crop
    )
    whole = _whole_pixels(shift, have, size)
    shift = torch.where(sharp.view(count, 1), whole, shift)
    if augmentation.quarter_turns and have[0] == have[1]:
        angle = angle + torch.pi / 2 * torch.randint(4, (count,), generator=generator)
    flips = torch.ones(count, 2)
    for axis, wanted in ((0, augmentation.mirror), (1, augmentation.upside_down)):
        if wanted:
            flips[:, axis] = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(count, 2, 2)
    # In pixels the picture is turned, not sheared, also when it isn't square.
    aspect = torch.tensor([float(size[1]), float(size[0])])
    turn = turn * aspect.view(1, 1, 2) / aspect.view(1, 2, 1)
    linear = turn * flips.view(count, 1, 2) * (crop * zoom).view(count, 2, 1)
    return torch.cat([linear, shift.view(count, 2, 1)], dim=2)


def _whole_pixels(
    shift: torch.Tensor, have: tuple[int, int], size: tuple[int, int]
) -> torch.Tensor:
    """The nearest shift [N, 2] by whole pixels."""
    scale = torch.tensor([float(have[1]), float(have[0])]) / 2
    edge = torch.tensor([float(have[1] - size[1]), float(have[0] - size[0])]) / 2
    return ((shift * scale + edge).round() - edge) / scale


def _uniform(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Uniform random numbers in [−1, 1)."""
    return torch.rand(*shape, generator=generator) * 2 - 1
