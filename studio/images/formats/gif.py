"""Reads the blocks of GIF files (CompuServe, "Graphics Interchange Format", version 89a)."""

from __future__ import annotations

from studio.images.formats.container import Container, UnreadableError

EXTENSION, PICTURE, TRAILER = 0x21, 0x2C, 0x3B
GRAPHIC_CONTROL = 0xF9  # the extension that holds transparency


def clean(data: bytes) -> Container:
    """The first frame, without comments, applications' blocks and later frames."""
    try:
        position = 13 + _palette_bytes(data[10])
        kept = [data[:position]]
        while data[position] == EXTENSION:
            end = _end_of_blocks(data, position + 2)
            if data[position + 1] == GRAPHIC_CONTROL:
                kept[1:] = [data[position:end]]  # of several, the last one holds
            position = end
        if data[position] != PICTURE:
            raise UnreadableError("it has no picture")
        pixels = position + 11 + _palette_bytes(data[position + 9])
        end = _end_of_blocks(data, pixels)
    except IndexError:
        raise UnreadableError("it is cut off") from None
    kept += [data[position:end], b"" if data[end - 1 : end] == b"\0" else b"\0", bytes([TRAILER])]
    return Container(b"".join(kept), "GIF")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_blocks(data: bytes, position: int) -> int:
    """Where a chain of sub-blocks ends: behind the empty one, or at the end of the file."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return min(position + 1, len(data))
