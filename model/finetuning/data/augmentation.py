"""Augmentation of a batch at once, on the device: what may vary without changing the answer.

Which changes are harmless is known to whoever knows the task, so a preset is chosen by name: a
mirrored 2 or a "left" that points right is another thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """What is varied, each evenly at random."""

    shift: float = 0.0  # up to this share of the side, beyond what the crop leaves
    zoom: tuple[float, float] = (1.0, 1.0)  # side of the part that is looked at, in crops
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


def middle(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The middle [N, 3, h, w] of bytes [N, 3, H, W], in 0 to 1: what the backbone is served."""
    top, left = (
        round((have - want) / 2) for have, want in zip(pixels.shape[2:], size, strict=True)
    )
    return pixels[:, :, top : top + size[0], left : left + size[1]].float() / 255


@dataclass(frozen=True, eq=False)
class Draws:
    """What was drawn for each image of a batch."""

    places: torch.Tensor  # [N, 2, 3] from places in the output to places in the stored image
    gain: torch.Tensor  # [N, 1, 1, 1] of the contrast
    lift: torch.Tensor  # [N, 1, 1, 1] of the brightness

    def part(self, which: Sequence[int]) -> "Draws":
        """Those of some of the images."""
        chosen = list(which)
        return Draws(self.places[chosen], self.gain[chosen], self.lift[chosen])


def draw(
    count: int,
    stored: tuple[int, int],
    size: tuple[int, int],
    how: Augmentation,
    generator: torch.Generator,
) -> Draws:
    """For `count` images of height and width `stored`, looked at as `size`, on the CPU."""
    places = _geometry(count, stored, size, how, generator)
    gain, lift = (1 + how.light * _even(generator, count, 1, 1, 1) for _ in range(2))
    return Draws(places, gain, lift)


def varied(pixels: torch.Tensor, size: tuple[int, int], draws: Draws) -> torch.Tensor:
    """Bytes [N, 3, H, W] as a varied part [N, 3, h, w] of them, in 0 to 1.

    One bilinear sampling does all of the geometry; what lies outside is mirrored in.
    """
    x = pixels.float() / 255
    theta = draws.places.to(x)
    grid = functional.affine_grid(theta, [len(pixels), 3, *size], align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return ((x - mean) * draws.gain.to(x) + mean * draws.lift.to(x)).clamp(0, 1)


def _geometry(
    count: int,
    have: tuple[int, int],
    size: tuple[int, int],
    how: Augmentation,
    generator: torch.Generator,
) -> torch.Tensor:
    """Matrices [N, 2, 3]; places are −1 to 1 from edge to edge, x before y."""
    crop = torch.tensor([size[1] / have[1], size[0] / have[0]])  # x, y
    low, high = how.zoom
    zoom = low + (high - low) * (_even(generator, count, 1) + 1) / 2
    angle = _even(generator, count) * torch.pi / 180 * how.turn
    # Sampling between pixels blurs what is fine: half of the images keep theirs as they are served.
    sharp = torch.randint(2, (count,), generator=generator) == 1
    zoom[sharp], angle[sharp] = 1.0, 0.0
    shift = _even(generator, count, 2) * ((1 - crop * zoom).clamp(min=0) + 2 * how.shift * crop)
    whole = _whole_pixels(shift, have, size)
    shift = torch.where(sharp.view(count, 1), whole, shift)
    if how.quarter_turns and have[0] == have[1]:
        angle = angle + torch.pi / 2 * torch.randint(4, (count,), generator=generator)
    flips = torch.ones(count, 2)
    for axis, wanted in ((0, how.mirror), (1, how.upside_down)):
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
    """The shift [N, 2] that puts pixels onto pixels, near this one."""
    scale = torch.tensor([float(have[1]), float(have[0])]) / 2
    edge = torch.tensor([float(have[1] - size[1]), float(have[0] - size[0])]) / 2
    return ((shift * scale + edge).round() - edge) / scale


def _even(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=generator) * 2 - 1
