"""Draws labelled images: nothing has to be downloaded to a machine with a GPU."""

import base64
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

CLASSES = ("stripes", "checks", "dots")
SIDE = 320  # pixels


def drawn(count: int, *, seed: int = 0) -> Iterator[tuple[bytes, int]]:
    """JPEGs of a pattern in noise, in turn of each class, with the class."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    for number in range(count):
        label = number % len(CLASSES)
        period, angle = rng.uniform(18, 40), rng.uniform(0, np.pi)
        along = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
        across = np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period)
        pattern = (along, np.sign(along * across), (along * across) ** 3)[label]
        grey = 128 + 30 * pattern + rng.normal(0, 45, (SIDE, SIDE))
        tint = rng.uniform(0.7, 1.0, 3)
        pixels = np.clip(grey[..., None] * tint, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue(), label


def data_uri(jpeg: bytes) -> str:
    """The image as a `data:` URI, which needs no server."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def opened(jpeg: bytes) -> Image.Image:
    """The image, in RGB."""
    return Image.open(io.BytesIO(jpeg)).convert("RGB")
