"""Reads the directory of ICO files: each entry is a PNG, or a BMP without its file header."""

from __future__ import annotations

import struct

from studio.images.formats import png
from studio.images.formats.container import Container, UnreadableError

ENTRY = struct.Struct("<BBBBHHII")


def clean(data: bytes) -> Container:
    """The largest entry: a PNG, or an ICO with this one entry, whose own header gives the size."""
    (count,) = struct.unpack_from("<H", data, 4)
    entries = [
        ENTRY.unpack_from(data, 6 + ENTRY.size * n)
        for n in range(count)
        if 6 + ENTRY.size * (n + 1) <= len(data)
    ]
    if not entries:
        raise UnreadableError("it has no picture")
    # A side of 256 pixels is stored as 0.
    entry = max(entries, key=lambda entry: ((entry[0] or 256) * (entry[1] or 256), entry[5]))
    length, offset = entry[6:]
    payload = data[offset : offset + length]
    if payload.startswith(png.SIGNATURE):
        return png.clean(payload)
    if len(payload) < 40:
        raise UnreadableError("it is cut off")
    header, width, height = struct.unpack_from("<Iii", payload)
    if header < 40:
        raise UnreadableError("its picture has an unknown header")
    directory = struct.pack("<HHH", 0, 1, 1) + ENTRY.pack(*entry[:6], len(payload), 22)
    # The height counts the mask too.
    return Container(directory + payload, "ICO", size=(abs(width), abs(height)))
