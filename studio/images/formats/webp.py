"""Reads the chunks of WebP files (RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from studio.images.formats.container import Container, UnreadableError, exif_orientation

ALPHA, ANIMATION = 0x10, 0x02  # flags of the extended header


def clean(data: bytes) -> Container:
    """The picture, or an animation's first frame, without ICC, EXIF, XMP and unknown chunks."""
    kept: list[tuple[bytes, bytes]] = []
    orientation, size = 1, None
    for kind, body in _chunks(data):
        if kind == b"VP8X" and len(body) >= 10 and not kept:
            size = _extended_size(body)
            kept.append((kind, bytes([body[0] & (ALPHA | ANIMATION)]) + body[1:]))
        elif kind == b"EXIF":
            orientation = exif_orientation(body)
        elif kind in (b"ALPH", b"ANIM") and kept:
            kept.append((kind, body))
        elif kind in (b"VP8 ", b"VP8L", b"ANMF") and not _has_picture(kept):
            size = size or _size(kind, body)
            kept.append((kind, body))
    if not _has_picture(kept) or size is None:
        raise UnreadableError("it is cut off, or has no picture")
    chunks = b"".join(
        kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in kept
    )
    riff = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    return Container(riff, "WEBP", orientation, size)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All chunks that are whole, whatever length the file says that it has."""
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > len(data):
            return
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _has_picture(kept: list[tuple[bytes, bytes]]) -> bool:
    return any(kind in (b"VP8 ", b"VP8L", b"ANMF") for kind, _ in kept)


def _extended_size(body: bytes) -> tuple[int, int]:
    width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
    return width, height


def _size(kind: bytes, body: bytes) -> tuple[int, int] | None:
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        (bits,) = struct.unpack_from("<I", body, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
