"""Reads the chunks of PNG files (W3C, "Portable Network Graphics Specification", third edition)."""

from __future__ import annotations

import struct
import zlib

from studio.images.formats.container import Container, UnreadableError, exif_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT"})
# Length of the transparent colour, by the colour type that has one.
TRANSPARENT_BYTES = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}


def clean(data: bytes) -> Container:
    """The picture's chunks, transparency included; the default picture of an animation.

    A chunk of metadata whose checksum or length is wrong is left out like all others. Of a chunk
    of pixels that is cut off, what there is is kept: the decoder finds out whether it suffices.
    """
    kept, orientation, position, colour = [SIGNATURE], 1, len(SIGNATURE), -1
    view = memoryview(data)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = view[position + 8 : position + 8 + length]
        checksum = bytes(view[position + 8 + length : position + 12 + length])
        whole = len(body) == length and checksum == _checksum(kind, body)
        if kind == b"IHDR" and length >= 13:
            colour = body[9] if len(body) > 9 else -1
        if kind == b"IDAT":  # a wrong checksum is ignored, as browsers do
            kept.append(_chunk(kind, body))
        elif kind in PIXELS:
            if not whole:
                raise UnreadableError(f"its chunk {kind.decode()} is damaged")
            kept.append(_chunk(kind, body))
        elif kind == b"tRNS" and whole and length in TRANSPARENT_BYTES.get(colour, ()):
            kept.append(_chunk(kind, body))
        elif kind == b"eXIf" and whole:
            orientation = exif_orientation(bytes(body))
        elif kind == b"IEND":
            break
        position += 12 + length
    return Container(b"".join([*kept, _chunk(b"IEND", b"")]), "PNG", orientation)


def without_checksum(data: bytes) -> bytes:
    """A cleaned file whose pixels lack the checksum of their compressed stream, which may be wrong.

    The decoder stops when it has all rows, so that whole files can still be read, and no others.
    """
    end = len(data) - len(_chunk(b"IEND", b""))
    start = data.rfind(b"IDAT", 0, end)
    body = data[start + 4 : end - 8]  # without its last four bytes, and the chunk's own checksum
    return data[: start - 4] + _chunk(b"IDAT", body) + data[end:]


def _chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    return b"".join([struct.pack(">I", len(body)), kind, body, _checksum(kind, body)])


def _checksum(kind: bytes, body: bytes | memoryview) -> bytes:
    return struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
