"""Image files made to take memory or time, in every format that is accepted.

A small one is made in no time. A large one holds as many pixels as are allowed, and so has to be
decoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.hostile.bomb import LONG, MIB, SIDE, Bomb, flat, saved, zeros
from benchmarks.hostile.tagged_bombs import box_bombs, tiff_bombs

PNG = b"\x89PNG\r\n\x1a\n"


def bombs() -> list[Bomb]:
    """All of them."""
    return [
        *_png(),
        *_jpeg(),
        *_gif(),
        *_webp(),
        *tiff_bombs(),
        *_icons(),
        *_plain(),
        *box_bombs(),
        *_other(),
    ]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, pixels: bytes, *chunks: bytes, depth: int = 8, colour: int = 2
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG + header + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _png() -> Iterator[Bomb]:
    small = zlib.compress(bytes(4 * 13))
    for width, height in ((30_000, 30_000), (100_000, 99_999), (2**31 - 1, 1), (1, 2**31 - 1)):
        yield Bomb(f"png of {width} × {height}", lambda w=width, h=height: png(w, h, small))
    text = b"Comment\0\0"
    yield Bomb(
        "png, zTXt of 1 GB", lambda: png(4, 4, small, chunk(b"zTXt", text + zeros(1024 * MIB)))
    )
    yield Bomb(
        "png, iCCP of 1 GB", lambda: png(4, 4, small, chunk(b"iCCP", b"p\0\0" + zeros(1024 * MIB)))
    )
    yield Bomb(
        "png, 100 iTXt of 64 MB",
        lambda: png(4, 4, small, *[chunk(b"iTXt", b"c\0\1\0\0\0" + zeros(64 * MIB))] * 100),
    )
    yield Bomb("png, pixels of 1 GB in 4 × 4", lambda: png(4, 4, zeros(1024 * MIB)))
    yield Bomb("png, a million chunks", lambda: png(4, 4, small, chunk(b"prVt", b"") * 1_000_000))
    yield Bomb(
        "png, 16 bits RGBA",
        lambda: png(SIDE, SIDE, zeros(SIDE * SIDE * 8 + 8000), depth=16, colour=6),
    )
    yield Bomb("png, RGBA", lambda: png(SIDE, SIDE, zeros(SIDE * SIDE * 4 + 8000), colour=6))
    yield Bomb(
        "png, grey of 16 bits",
        lambda: png(SIDE, SIDE, zeros(SIDE * SIDE * 2 + 8000), depth=16, colour=0),
    )
    yield Bomb("png, long and thin", lambda: png(49_000_000, 1, zeros(49_000_000 * 3 + MIB)))


def _jpeg() -> Iterator[Bomb]:
    little = saved(flat(side=64), "JPEG")

    def claiming() -> bytes:
        at = little.index(b"\xff\xc0") + 5
        return little[:at] + b"\xff\xff\xff\xff" + little[at + 4 :]

    def scans() -> bytes:
        data = saved(flat(side=1500), "JPEG", progressive=True)
        start = data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda"))
        return data[:start] + data[start:-2] * 3000 + data[-2:]

    def segments() -> bytes:
        metadata = b"\xff\xe1\xff\xffExif\0\0" + bytes(0xFFFF - 8)
        return little[:2] + metadata * (LONG // len(metadata)) + little[2:]

    yield Bomb("jpeg of 65535 × 65535", claiming)
    yield Bomb("jpeg with 3000 scans", scans)
    yield Bomb("jpeg, 40 MB of EXIF", segments)
    yield Bomb("jpeg, 40 MB behind its end", lambda: little + bytes(LONG))
    yield Bomb(
        "mpo of 300 pictures",
        lambda: saved(flat(side=64), "MPO", save_all=True, append_images=[flat(side=64)] * 299),
    )
    for mode, options in (
        ("RGB", {}),
        ("RGB", {"progressive": True, "subsampling": 0}),
        ("CMYK", {"progressive": True}),
    ):
        name = "progressive" if options else "baseline"
        yield Bomb(
            f"jpeg, {mode}, {name}",
            lambda m=mode, o=options: saved(flat(m), "JPEG", **o),
            small=False,
        )


def _gif() -> Iterator[Bomb]:
    little = saved(flat("P", 16), "GIF")
    picture = little.index(b"\x2c\0\0\0\0")
    frame = little[picture:-1]

    def comment() -> bytes:
        return (
            little[:picture]
            + b"\x21\xfe"
            + (b"\xff" + bytes(255)) * (LONG // 256)
            + b"\0"
            + little[picture:]
        )

    def outside() -> bytes:
        return little[:picture] + b"\x2c\0\0\0\0\xff\xff\xff\xff" + little[picture + 9 :]

    yield Bomb("gif of 65535 × 65535", lambda: little[:6] + b"\xff\xff\xff\xff" + little[10:])
    yield Bomb("gif, a frame larger than its screen", outside)
    yield Bomb("gif, 100,000 frames", lambda: little[:-1] + frame * 100_000 + little[-1:])
    yield Bomb("gif, a comment of 40 MB", comment)
    yield Bomb("gif, large", lambda: saved(flat("P"), "GIF"), small=False)


def _webp() -> Iterator[Bomb]:
    little = saved(flat(side=16), "WEBP", lossless=True)

    def extended(width: int, height: int, *chunks: tuple[bytes, bytes], flags: int = 0) -> bytes:
        body = bytes([flags, 0, 0, 0])
        body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        parts = b"".join(
            kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
            for kind, data in ((b"VP8X", body), *chunks)
        )
        return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts

    picture = (b"VP8L", little[20:])
    claim = b"\x2f" + struct.pack("<I", 0x3FFF | 0x3FFF << 14)
    yield Bomb("webp of 16384 × 16384", lambda: little[:20] + claim + little[25:])
    yield Bomb("webp, canvas of 16 million squared", lambda: extended(2**24, 2**24, picture))
    yield Bomb("webp, canvas larger than its picture", lambda: extended(SIDE, SIDE, picture))
    yield Bomb(
        "webp, 40 MB of XMP", lambda: extended(16, 16, picture, (b"XMP ", bytes(LONG)), flags=4)
    )
    yield Bomb(
        "webp, 40 MB of ICC", lambda: extended(16, 16, (b"ICCP", bytes(LONG)), picture, flags=32)
    )
    for name, options in (
        ("lossy", {"quality": 1}),
        ("lossless", {"lossless": True, "quality": 0}),
    ):
        yield Bomb(
            f"webp, {name}", lambda o=options: saved(flat(), "WEBP", method=0, **o), small=False
        )
    yield Bomb(
        "webp, animated",
        lambda: saved(
            flat("RGBA"),
            "WEBP",
            method=0,
            quality=1,
            save_all=True,
            append_images=[Image.new("RGBA", (SIDE, SIDE), (9, 9, n, n)) for n in (10, 200)],
        ),
        small=False,
    )


def ico(payload: bytes, count: int = 1) -> bytes:
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(payload), 6 + 16 * count)
    return struct.pack("<HHH", 0, 1, count) + entry * count + payload


def _icons() -> Iterator[Bomb]:
    def bitmap(side: int) -> bytes:
        return struct.pack("<IiiHHIIiiII", 40, side, 2 * side, 1, 32, 0, 0, 0, 0, 0, 0) + bytes(
            4000
        )

    side = 11_000
    yield Bomb(
        "ico, a PNG of 11000 × 11000", lambda: ico(png(side, side, zeros(side * side * 3 + MIB)))
    )
    yield Bomb(
        "ico, a PNG of 7000 × 7000", lambda: ico(png(SIDE, SIDE, zeros(SIDE * SIDE * 3 + MIB)))
    )
    yield Bomb("ico, a bitmap of 11000 × 11000", lambda: ico(bitmap(side)))
    yield Bomb("ico, a bitmap of 2 thousand million", lambda: ico(bitmap(2**30 - 1)))
    yield Bomb("ico, 65535 entries", lambda: ico(bitmap(16), count=65_535))


def _plain() -> Iterator[Bomb]:
    def bmp(width: int, height: int, coding: int = 0, bits: int = 24) -> bytes:
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, coding, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 4000, 0, 0, 54 + 1024) + head + bytes(1024 + 4000)

    def tga(width: int, height: int, kind: int = 10) -> bytes:
        head = struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, width, height, 24, 0)
        return head + (b"\xff" + b"abc") * (width * height // 128 + 1 if kind == 10 else 10)

    yield Bomb("bmp of 60000 × 60000", lambda: bmp(60_000, 60_000))
    yield Bomb("bmp of -2 thousand million", lambda: bmp(2**31 - 1, -(2**31) + 1))
    yield Bomb("bmp, runs, 7000 × 7000", lambda: bmp(SIDE, SIDE, coding=1, bits=8))
    yield Bomb("tga of 65535 × 65535", lambda: tga(65_535, 65_535, kind=2))
    yield Bomb("tga, runs, 7040 × 6900", lambda: tga(7_040, 6_900))
    yield Bomb("ppm of 99999 × 99999", lambda: b"P6 99999 99999 255\n" + bytes(1000))
    yield Bomb("ppm, a number of 40 MB", lambda: b"P6 " + b"9" * LONG)
    yield Bomb(
        "ppm, a comment of 40 MB", lambda: b"P6 #" + b"c" * LONG + b"\n2 2 255\n" + bytes(12)
    )
    yield Bomb("pgm, words, 4 million pixels", lambda: b"P2 2000 2000 255\n" + b"7 " * 4_000_000)
    yield Bomb(
        "pfm, 12 million pixels",
        lambda: (
            b"Pf\n3500 3500\n-1.0\n" + np.arange(3500 * 3500, dtype="<f4").tobytes()[: 48 * MIB]
        ),
    )


def _other() -> Iterator[Bomb]:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    yield Bomb(
        "svg, a billion laughs",
        lambda: f"<?xml version='1.0'?><!DOCTYPE svg [{laughs}]><svg>&l9;</svg>".encode(),
    )
    yield Bomb("gzip of 1 GB", lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\3" + zeros(1024 * MIB)[2:])
    yield Bomb("pdf", lambda: b"%PDF-1.7\n" + bytes(LONG))
    yield Bomb("postscript", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n")
    yield Bomb("40 MB of nothing", lambda: bytes(LONG))
