"""Reads headers that the decoder reads too late or too slowly: JPEG 2000, JPEG XL and PPM."""

from __future__ import annotations

import re
import struct

from studio.images.formats.container import (
    Container,
    UnreadableError,
    UnsupportedError,
    boxes,
)

J2K_CODESTREAM = b"\xff\x4f\xff\x51"  # the markers SOC and SIZ
JXL_CODESTREAM = b"\xff\x0a"
# A field of a PPM's header, behind white space and comments.
FIELD = re.compile(rb"(?:[\s]|#[^\r\n]*[\r\n])*([^\s#]{1,10})")
PLAIN = (b"P1", b"P2", b"P3")  # the kinds that are text
PLAIN_PIXELS = 4_000_000  # of them, read as text in Python
CODING = b"\xff\x52"  # the marker COD
JXL_BOXES = (b"jxlc", b"jxlp")


def clean_jpeg_2000(data: bytes) -> Container:
    """The file as it is, with its true size."""
    width, height, halvings = jpeg_2000_size(data)
    return Container(data, "JPEG2000", size=(width, height), halvings=halvings)


def clean_jpeg_xl(data: bytes) -> Container:
    """The file as it is, with its true size."""
    return Container(data, "JXL", size=jpeg_xl_size(data))


def jpeg_2000_size(data: bytes) -> tuple[int, int, int]:
    """Width and height of the codestream (ITU-T T.800, annex A): a box may say something else.

    The third number is how often both can be halved while decoding.

    Raises UnreadableError when there is no codestream, or its tiles don't fit the picture.
    """
    start = 0
    if not data.startswith(J2K_CODESTREAM):
        start = next((at for kind, at in boxes(data) if kind == b"jp2c"), -1)
    if start < 0 or start + 42 > len(data) or not data.startswith(J2K_CODESTREAM, start):
        raise UnreadableError("it has no picture")
    fields = struct.unpack_from(">8IH", data, start + 8)
    right, bottom, left, top, tile_width, tile_height = fields[:6]
    if right <= left or bottom <= top or not tile_width or not tile_height:
        raise UnreadableError("its size is impossible")
    width, height = right - left, bottom - top
    tiles = -(-width // tile_width) * -(-height // tile_height)
    if tiles > 65_535 or fields[8] > 8:
        raise UnreadableError("it has too many tiles or bands")
    coding = data.find(CODING, start)
    levels = data[coding + 9] if 0 <= coding < len(data) - 9 else 0
    return width, height, min(levels, 32)


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Width and height of the codestream (ISO/IEC 18181-1, section D.2). Raises UnreadableError."""
    start = 0
    if not data.startswith(JXL_CODESTREAM):
        contents = (at + 4 * (kind == b"jxlp") for kind, at in boxes(data) if kind in JXL_BOXES)
        start = next(contents, -1)
        if start < 0 or not data.startswith(JXL_CODESTREAM, start):
            raise UnreadableError("it has no picture")
    bits = int.from_bytes(data[start + 2 : start + 18], "little")
    taken = 0

    def read(count: int) -> int:
        nonlocal taken
        taken += count
        return bits >> taken - count & (1 << count) - 1

    small = read(1)

    def side() -> int:
        return 8 * (read(5) + 1) if small else read((9, 13, 18, 30)[read(2)]) + 1

    height = side()
    across, down = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[read(3)]
    width = height * across // down if across else side()
    return width, height


def clean_ppm(data: bytes) -> Container:
    """The file without comments in its header, which Pillow reads byte by byte."""
    kind, position, fields = data[:2], 2, []
    for _ in range(2 if kind in (b"P1", b"P4") else 3):
        match = FIELD.match(data, position)
        if match is None:
            raise UnreadableError("its header is broken")
        fields.append(match[1])
        position = match.end()
    try:
        width, height = int(fields[0]), int(fields[1])
    except ValueError:
        raise UnreadableError("its header is broken") from None
    if kind in PLAIN and width * height > PLAIN_PIXELS:
        raise UnsupportedError(f"a PPM of {width} × {height} pixels as text, which takes too long")
    header = b" ".join([kind, *fields])
    return Container(header + data[position:], "PPM", size=(width, height))
