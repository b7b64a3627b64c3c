"""From an image to the pixels that a backbone reads: resize, crop, and nothing else.

Normalisation is left to the device: a byte a channel is a quarter of what a float would take to
move. The geometry is timm's evaluation transform (`crop_mode` center): the shorter side becomes
`input_size / crop_pct`, then the middle square is cut out. Both are done in one resize of the part
of the image that the square comes from, which gives the same pixels for less work.
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


def prepare(image: Image.Image, spec: BackboneSpec) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of an RGB image of any size, H = W = `spec.input_size`.

    Thread-safe; Pillow releases the interpreter lock while it resizes.
    """
    size = spec.input_size
    resized_side = math.floor(size / spec.crop_pct)
    width, height = image.size
    short = min(width, height)
    # As torchvision's Resize and CenterCrop round.
    resized = [int(resized_side * side / short) for side in (width, height)]
    corner = [round((side - size) / 2.0) for side in resized]
    scale = [width / resized[0], height / resized[1]]
    box = (
        corner[0] * scale[0],
        corner[1] * scale[1],
        min((corner[0] + size) * scale[0], width),
        min((corner[1] + size) * scale[1], height),
    )
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    square = rgb.resize(
        (size, size), _FILTERS[spec.interpolation], box=box, reducing_gap=REDUCING_GAP
    )
    return np.asarray(square)
