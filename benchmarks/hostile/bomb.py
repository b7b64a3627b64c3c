"""What image bombs are made of."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

SIDE = 7_000  # of the large ones: 49 million pixels
MIB = 1024 * 1024
LONG = 40 * MIB  # of metadata


@dataclass(frozen=True)
class Bomb:
    """A file; `small` when its making takes neither memory nor time."""

    name: str
    make: Callable[[], bytes]
    small: bool = True


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flat(mode: str = "RGB", side: int = SIDE) -> Image.Image:
    return Image.new(mode, (side, side), 99)


def zeros(size: int) -> bytes:
    """So many zeros, compressed to a thousandth, without holding them."""
    compressor = zlib.compressobj(9)
    parts = [compressor.compress(bytes(MIB)) for _ in range(-(-size // MIB))]
    return b"".join([*parts, compressor.flush()])
