"""What a reader of a file format hands on: a file without metadata, and what it says of itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

EXIF_ORIENTATION = 0x0112
EXIF_HEADER = b"Exif\0\0"


class UnreadableError(Exception):
    """The file can't be decoded. The message is a phrase for people, without any of its bytes."""


class UnsupportedError(Exception):
    """The file is of a kind that can't be decoded; the message names it."""


@dataclass(frozen=True)
class Container:
    """A file with the chunks that hold pixels, and no others.

    Metadata is left out before a decoder sees the file: then none of it, however broken or large,
    can lose the picture.
    """

    data: bytes
    format: str  # Pillow's name
    orientation: int = 1  # EXIF's, 1 to 8
    size: tuple[int, int] | None = None  # width, height; None where Pillow's `open` decodes nothing
    halvings: int = 0  # how often both sides can be halved while decoding, for JPEG 2000
    bytes_a_pixel: int = 0  # that decoding takes, where the format alone says too little
    bilevel: bool = False  # one bit a pixel: two grey levels are all that there can be


def exif_orientation(exif: bytes) -> int:
    """The orientation in a block of EXIF, 1 where there is none or the block is broken."""
    try:
        parsed = Image.Exif()
        parsed.load(exif if exif.startswith(EXIF_HEADER) else EXIF_HEADER + exif)
        value = parsed.get(EXIF_ORIENTATION, 1)
    except Exception:
        # Broken EXIF raises nearly anything, but browsers show such an image: unturned.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The kind of each outermost box of an ISO base media file, and where its content begins."""
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        large = length == 1
        if large:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        yield kind, position + (16 if large else 8)
        if length < 8:  # 0: up to the file's end
            return
        position += length
