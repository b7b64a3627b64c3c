"""Image bombs in formats of tags and boxes: TIFF, JPEG 2000, AVIF, HEIF, JPEG XL."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from benchmarks.hostile.bomb import LONG, MIB, SIDE, Bomb, flat, saved, zeros


def tiff(tags: dict[int, tuple[int, ...]], strip: bytes, *, following: int = 0) -> bytes:
    """A TIFF of numbers of 32 bits; 0 stands for the strip's offset."""
    lengths = {tag: (len(strip),) for tag in (279, 325) if tag in tags}
    entries = [
        struct.pack("<HHII", tag, 4, 1, values[0] or 8)
        for tag, values in sorted((tags | lengths).items())
    ]
    head = struct.pack("<HI", 42, 8 + len(strip) + len(strip) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    return b"II" + head + strip + bytes(len(strip) % 2) + directory


def tags_of(width: int, height: int, length: int, **more: int) -> dict[int, tuple[int, ...]]:
    names = {
        "bits": 258,
        "coding": 259,
        "photometric": 262,
        "samples": 277,
        "rows": 278,
        "kind": 339,
        "tile_width": 322,
        "tile_height": 323,
        "tile": 324,
        "tile_bytes": 325,
    }
    base = {
        256: (width,),
        257: (height,),
        258: (8,),
        259: (1,),
        262: (1,),
        273: (0,),
        277: (1,),
        278: (height,),
        279: (length,),
    }
    return base | {names[name]: (value,) for name, value in more.items()}


def tiff_bombs() -> Iterator[Bomb]:
    deflated = zlib.compress(bytes(100))
    huge = 60_000
    yield Bomb("tiff of 60000 × 60000", lambda: tiff(tags_of(huge, huge, 100), bytes(100)))
    yield Bomb(
        "tiff, 10 × 10 in a tile of 60000 × 60000",
        lambda: tiff(
            tags_of(
                10,
                10,
                len(deflated),
                coding=8,
                tile_width=huge,
                tile_height=huge,
                tile=0,
                tile_bytes=len(deflated),
            ),
            deflated,
        ),
    )
    yield Bomb(
        "tiff, 1 GB in a strip of 10 × 10",
        lambda: tiff(tags_of(10, 10, 1024 * 1024, coding=8), zeros(1024 * MIB)),
    )
    yield Bomb("tiff, 65535 bands", lambda: tiff(tags_of(10, 10, 100, samples=65_535), bytes(100)))
    yield Bomb(
        "tiff, next picture is itself",
        lambda: tiff(tags_of(10, 10, 100), bytes(100), following=108),
    )

    def shared_tags() -> bytes:
        """900 tags whose value is all of the file."""
        data = bytes(LONG)
        known = tags_of(10, 10, 100)
        entries = [struct.pack("<HHII", tag, 4, 1, value[0] or 8) for tag, value in known.items()]
        entries += [struct.pack("<HHII", 40_000 + n, 7, LONG, 8) for n in range(900)]
        start = struct.pack("<HI", 42, 8 + len(data))
        return b"II" + start + data + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)

    def endless_list() -> bytes:
        data = tiff(tags_of(10, 10, 100), bytes(100))
        entry = struct.pack("<HHII", 273, 4, 1, 8)
        return data.replace(entry, struct.pack("<HHII", 273, 4, 2**31 - 1, 8))

    yield Bomb("tiff, 900 tags of 40 MB each", shared_tags)
    yield Bomb("tiff, a list of two thousand million strips", endless_list)
    area = SIDE * SIDE
    for name, size, more in (
        ("32-bit numbers", 4, {"bits": 32}),
        ("floating-point numbers", 4, {"bits": 32, "kind": 3}),
        ("16 bits", 2, {"bits": 16}),
        ("RGB of 16 bits", 6, {"bits": 16, "samples": 3, "photometric": 2}),
        ("RGBA of 8 bits", 4, {"samples": 4, "photometric": 2}),
    ):
        yield Bomb(
            f"tiff, {name}",
            lambda s=size, m=more: tiff(
                tags_of(SIDE, SIDE, 1024 * 1024, coding=8, **m), zeros(area * s + MIB)
            ),
        )


def box_bombs() -> Iterator[Bomb]:
    little = saved(flat(side=64), "JPEG2000")

    def codestream(width: int, height: int, data: bytes = little) -> bytes:
        at = data.index(b"\xff\x4f\xff\x51") + 8
        sizes = struct.pack(">6I", width, height, 0, 0, width, height)
        return data[:at] + sizes + data[at + 24 :]

    def tiles() -> bytes:
        data = codestream(40_000, 1_000)
        at = data.index(b"\xff\x4f\xff\x51") + 8 + 16
        return data[:at] + struct.pack(">II", 1, 1) + data[at + 8 :]

    yield Bomb("jpeg 2000, codestream of 60000 × 60000", lambda: codestream(60_000, 60_000))
    yield Bomb(
        "jpeg 2000, codestream of 4 thousand million", lambda: codestream(2**32 - 1, 2**32 - 1)
    )
    yield Bomb("jpeg 2000, 40 million tiles", tiles)
    yield Bomb(
        "jpeg 2000, a box before with another size",
        lambda: (
            little[:12]
            + struct.pack(">I", 24)
            + b"free"
            + little[little.index(b"\xff\x4f") :][:16]
            + codestream(60_000, 60_000)[12:]
        ),
    )
    yield Bomb("jpeg 2000, large", lambda: saved(flat(), "JPEG2000"), small=False)
    yield Bomb(
        "jpeg 2000, large, nothing to halve",
        lambda: saved(flat(), "JPEG2000", num_resolutions=1),
        small=False,
    )
    for kind, size in (("AVIF", b"ispe"), ("HEIF", b"ispe")):

        def claiming(kind: str = kind, size: bytes = size) -> bytes:
            data = saved(flat(side=64), kind)
            at = data.index(size) + 8
            return data[:at] + struct.pack(">II", 60_000, 60_000) + data[at + 8 :]

        yield Bomb(f"{kind.lower()} of 60000 × 60000", claiming)
    yield Bomb(
        "avif, large", lambda: saved(flat("RGBA"), "AVIF", speed=10, quality=10), small=False
    )
    yield Bomb("heif, large", lambda: saved(flat(side=4000), "HEIF", quality=10), small=False)
    yield Bomb("jxl, large", lambda: saved(flat(), "JXL", effort=1), small=False)
    yield Bomb(
        "jxl of a thousand million squared",
        lambda: b"\xff\x0a" + ((2**30 - 2) << 3 | 3 << 1 | 0).to_bytes(16, "little"),
    )
