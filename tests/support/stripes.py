"""Small images of noisy stripes: upright, lying or slanted, which a mean of pixels doesn't tell."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("upright", "lying", "slanted")
SIDE = 48  # pixels
AMPLITUDE, NOISE = 30, 60  # of 255


def stripes(count: int, *, seed: int = 0) -> tuple[list[Image.Image], NDArray[np.intp]]:
    """Images and what they are, in turn."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    along = (columns, rows, (rows + columns) / 2**0.5)
    y = np.arange(count) % 3
    images = []
    for kind in y:
        wave = np.sin(along[kind] * 1.2 + random.uniform(0, 6.28))
        pixels = 128 + AMPLITUDE * wave[..., None] + random.normal(0, NOISE, (SIDE, SIDE, 3))
        images.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    return images, y
