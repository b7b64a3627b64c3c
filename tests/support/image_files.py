"""Image files made by hand: chunks, tags and headers that no library writes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
FLOAT, SIGNED, UNSIGNED = 3, 2, 1  # TIFF's sample formats


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def scene(width: int = 96, height: int = 64) -> np.ndarray:
    """Colours [height, width, 3] in [0, 1] that look like a picture: waves and some noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [(np.sin(x / 17 + band) + np.cos(y / 13 - band) + 2) / 4 for band in range(3)]
    noise = np.random.default_rng(0).normal(0, 0.02, (height, width, 3))
    return np.clip(np.stack(waves, -1) + noise, 0, 1)


def picture(width: int = 96, height: int = 64) -> Image.Image:
    return Image.fromarray((scene(width, height) * 255).astype(np.uint8))


def png_chunk(kind: bytes, body: bytes, *, wrong: bool = False) -> bytes:
    checksum = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    position, found = len(PNG), []
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found.append((kind, data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def png_with(data: bytes, kind: bytes, body: bytes, *, wrong: bool = False) -> bytes:
    """The PNG with one more chunk, before its pixels."""
    header, *rest = png_chunks(data)
    added = png_chunk(kind, body, wrong=wrong)
    return PNG + png_chunk(*header) + added + b"".join(png_chunk(*chunk) for chunk in rest)


def png_claiming(width: int, height: int, pixels: bytes = bytes(100)) -> bytes:
    """A few bytes whose header speaks of that many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = png_chunk(b"IDAT", zlib.compress(pixels))
    return PNG + png_chunk(b"IHDR", header) + idat + png_chunk(b"IEND", b"")


def jpeg_with(data: bytes, marker: int, body: bytes) -> bytes:
    """The JPEG with one more segment, before all others."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def ico_of(payload: bytes, side: int = 0) -> bytes:
    """An ICO with one entry, which may say anything of its own size."""
    entry = struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(payload), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + payload


def tiff(
    samples: np.ndarray,
    *,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    compressed: bool = False,
    rows: int = 16,
    photometric: int | None = None,
    extra: Iterable[int] | None = None,
    tags: dict[int, tuple[int, bytes]] | None = None,
) -> bytes:
    """A TIFF of `samples` [height, width, bands]; `tags` adds {tag: (type, value)}."""
    height, width, bands = samples.shape
    kind = {"u": UNSIGNED, "i": SIGNED, "f": FLOAT}[samples.dtype.kind]
    samples = samples.astype(samples.dtype.newbyteorder(order))
    layers = [samples[..., n : n + 1] for n in range(bands)] if planar else [samples]
    strips = [
        layer[top : top + rows].tobytes() for layer in layers for top in range(0, height, rows)
    ]
    if compressed:
        strips = [zlib.compress(strip) for strip in strips]
    word, letter, inline = (16, "Q", 8) if big else (4, "I", 4)

    def numbers(code: int, *values: int) -> tuple[int, bytes]:
        return code, struct.pack(
            f"{order}{len(values)}{ {3: 'H', 4: 'I', 16: 'Q'}[code] }", *values
        )

    if photometric is None:
        photometric = 2 if bands >= 3 else 1
    offsets = np.cumsum([(16 if big else 8), *map(len, strips)])[:-1]
    entries = {
        256: numbers(4, width), 257: numbers(4, height),
        258: numbers(3, *[samples.dtype.itemsize * 8] * bands),
        259: numbers(3, 8 if compressed else 1), 262: numbers(3, photometric),
        273: numbers(word, *map(int, offsets)), 277: numbers(3, bands), 278: numbers(4, rows),
        279: numbers(word, *map(len, strips)), 284: numbers(3, 2 if planar else 1),
        339: numbers(3, *[kind] * bands),
    }  # fmt: skip
    if extra is not None:
        entries[338] = numbers(3, *extra)
    entries |= tags or {}
    position = (16 if big else 8) + sum(map(len, strips))
    values, directory = b"", b""
    for tag, (code, raw) in sorted(entries.items()):
        count = len(raw) // {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 12: 8, 16: 8}[code]
        field = raw.ljust(inline, b"\0")
        if len(raw) > inline:
            field = struct.pack(order + letter, position + len(values))
            values += raw
        directory += struct.pack(f"{order}HH{letter}", tag, code, count) + field
    start = struct.pack(order + letter, position + len(values))
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    number = struct.pack(order + ("Q" if big else "H"), len(entries))
    return mark + head + start + b"".join(strips) + values + number + directory + bytes(8)
