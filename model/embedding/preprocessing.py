"""Resizes and crops images to the input of a backbone.

Normalisation is left to the device: uint8 is a quarter of float32 to transfer. The geometry is
timm's evaluation transform, in its three modes. `center`: the image is scaled until it just covers
`shape / crop_pct`, then the centre is cut out. `squash`: both sides are scaled to
`shape / crop_pct`, each by itself. `border`: the image is scaled until it just fits, and the rest
is filled with the mean. Resizing and cropping are one resize of the cropped part of the image,
which gives the same pixels for less work.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.backbones import BackboneSpec

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

# Very large images are first shrunk by whole factors until they are this many times too large:
# Pillow's documentation calls the result of 3.0 almost indistinguishable.
REDUCING_GAP = 3.0

# 224 / (224 / 232) is 231.999…
ROUNDING = 1e-6


def prepare(image: Image.Image, spec: BackboneSpec) -> NDArray[np.uint8]:
    """Resize and crop an image of any size to RGB pixels [H, W, 3], (H, W) = `spec.shape`.

    Thread-safe; Pillow releases the interpreter lock while it resizes.
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if spec.crop_mode == "border":
        return _bordered(rgb, spec)
    height, width = spec.shape
    resized = _resized(rgb.size, spec)
    # As torchvision's CenterCrop rounds.
    corner = [round((resized[0] - width) / 2.0), round((resized[1] - height) / 2.0)]
    scale = [side / after for side, after in zip(rgb.size, resized, strict=True)]
    box = (
        max(corner[0] * scale[0], 0.0),
        max(corner[1] * scale[1], 0.0),
        min((corner[0] + width) * scale[0], rgb.width),
        min((corner[1] + height) * scale[1], rgb.height),
    )
    cropped = rgb.resize(
        (width, height), _FILTERS[spec.interpolation], box=box, reducing_gap=REDUCING_GAP
    )
    return np.asarray(cropped)


def _resized(size: tuple[int, int], spec: BackboneSpec) -> tuple[int, int]:
    """Width and height of the whole image before the crop."""
    height, width = (math.floor(side / spec.crop_pct + ROUNDING) for side in spec.shape)
    if spec.crop_mode == "squash":
        return width, height
    if width == height:  # as torchvision's Resize rounds
        short = min(size)
        return int(width * size[0] / short), int(width * size[1] / short)
    # As timm's ResizeKeepRatio rounds.
    ratio = max(width / size[0], height / size[1])
    return round(size[0] * ratio), round(size[1] * ratio)


def _bordered(rgb: Image.Image, spec: BackboneSpec) -> NDArray[np.uint8]:
    height, width = spec.shape
    target = [math.floor(side / spec.crop_pct + ROUNDING) for side in (width, height)]
    ratio = min(target[0] / rgb.width, target[1] / rgb.height)
    resized = rgb.resize(
        (max(round(rgb.width * ratio), 1), max(round(rgb.height * ratio), 1)),
        _FILTERS[spec.interpolation],
        reducing_gap=REDUCING_GAP,
    )
    red, green, blue = (round(255 * value) for value in spec.mean)
    canvas = Image.new("RGB", (width, height), (red, green, blue))
    canvas.paste(resized, ((width - resized.width) // 2, (height - resized.height) // 2))
    return np.asarray(canvas)
