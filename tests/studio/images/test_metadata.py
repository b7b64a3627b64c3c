"""Metadata never loses a picture, however broken or large; a missing end marker doesn't either."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.images.loader import ImagePolicy, PermanentImageError, decode
from tests.support.image_files import (
    PNG,
    jpeg_with,
    picture,
    png_chunk,
    png_chunks,
    png_with,
    saved,
)

POLICY = ImagePolicy()
ANCILLARY = (
    "bKGD", "cHRM", "cICP", "eXIf", "gAMA", "hIST", "iCCP", "iTXt", "pHYs", "sBIT", "sPLT", "sRGB",
    "tEXt", "tIME", "tRNS", "zTXt", "acTL", "fcTL", "fdAT", "vpAg", "prVt",
)  # fmt: skip
BODIES = (b"", b"\0" * 9, b"x" * 300_000)
PICTURE = picture()
JPEG, PNG_FILE = saved(PICTURE, "JPEG", quality=92), saved(PICTURE, "PNG")
WEBP, GIF = saved(PICTURE, "WEBP", lossless=True), saved(PICTURE, "GIF")


def same(data: bytes, whole: bytes) -> bool:
    return np.array_equal(np.asarray(decode(data, POLICY)), np.asarray(decode(whole, POLICY)))


@pytest.mark.parametrize("kind", ANCILLARY)
@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("wrong", [True, False], ids=["wrong", "right"])
def test_no_ancillary_chunk_loses_a_png(kind: str, body: bytes, wrong: bool) -> None:
    assert same(png_with(PNG_FILE, kind.encode(), body, wrong=wrong), PNG_FILE)


@pytest.mark.parametrize("colours", ["L", "P", "RGBA"])
def test_a_transparent_colour_of_the_wrong_length_is_ignored(colours: str) -> None:
    data = saved(PICTURE.convert(colours), "PNG")
    for body in (b"", b"x" * 999) if colours == "P" else (b"x", b"x" * 999):
        assert same(png_with(data, b"tRNS", body), data)


def test_a_large_colour_profile_does_not_lose_an_image() -> None:
    profile = np.random.default_rng(0).bytes(1_500_000)
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 92}), ("WEBP", {"lossless": True}),
                          ("TIFF", {})):  # fmt: skip
        plain = saved(PICTURE, kind, **options)
        assert same(saved(PICTURE, kind, icc_profile=profile, **options), plain), kind


@pytest.mark.parametrize("marker", [*range(0xE0, 0xF0), 0xFE])
@pytest.mark.parametrize("start", [b"", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0", b"JFIF\0"])
def test_no_application_segment_loses_a_jpeg(marker: int, start: bytes) -> None:
    assert same(jpeg_with(JPEG, marker, start + bytes(range(256))), JPEG)
    assert same(jpeg_with(JPEG, marker, b""), JPEG)


def test_a_jpeg_with_something_behind_its_end_or_between_its_segments() -> None:
    assert same(JPEG + b"\xff\xd8\xff\xe0 another" + bytes(10_000), JPEG)
    assert same(JPEG[:2] + b"\xff" * 500 + JPEG[2:], JPEG)


@pytest.mark.parametrize(
    ("colours", "options"),
    [
        ("RGB", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"restart_marker_rows": 1}),
        ("RGB", {"progressive": True, "restart_marker_blocks": 3}),
        ("RGB", {"subsampling": 0, "optimize": True}),
        ("L", {}),
        ("CMYK", {"progressive": True}),
    ],
)
def test_a_jpeg_without_its_end_marker_is_whole_and_part_of_one_is_not(
    colours: str, options: dict[str, object]
) -> None:
    data = saved(PICTURE.convert(colours), "JPEG", quality=92, **options)
    for missing in (1, 2):
        assert same(data[:-missing], data)
    for missing in (3, 4, 5):  # perhaps only bits that fill up the last byte
        with contextlib.suppress(PermanentImageError):
            assert same(data[:-missing], data)
    for missing in (12, 20, 90, len(data) // 4, len(data) // 2):
        with pytest.raises(PermanentImageError, match="cut off"):
            decode(data[:-missing], POLICY)


def test_a_progressive_jpeg_without_its_last_scans_is_cut_off() -> None:
    data = saved(PICTURE, "JPEG", quality=92, progressive=True)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    # A scan's tables come before it, so that this is where the scan before it ends.
    tables = [data.rfind(b"\xff\xc4", 0, at) for at in starts]
    for cut in {table for table in tables[1:] if table > starts[0]}:
        with pytest.raises(PermanentImageError, match="cut off"):
            decode(data[:cut], POLICY)


def test_a_png_without_its_last_chunk_or_with_a_wrong_checksum_is_whole() -> None:
    header, pixels, _ = png_chunks(PNG_FILE)
    start = PNG + png_chunk(*header)
    assert same(PNG_FILE[:-12], PNG_FILE)
    assert same(PNG_FILE[:-4], PNG_FILE)
    assert same(start + png_chunk(*pixels, wrong=True), PNG_FILE)
    assert same(start + png_chunk(b"IDAT", pixels[1][:-4] + b"sums"), PNG_FILE)
    half = len(pixels[1]) // 2
    parts = [png_chunk(b"IDAT", pixels[1][:half]), png_chunk(b"prVt", b"between")]
    assert same(start + b"".join([*parts, png_chunk(b"IDAT", pixels[1][half:])]), PNG_FILE)
    with pytest.raises(PermanentImageError, match="broken or cut off: a PNG"):
        decode(start + png_chunk(b"IDAT", pixels[1][:half]), POLICY)


def test_a_webp_with_broken_lengths_or_a_metadata_chunk_that_is_cut_off() -> None:
    tagged = saved(PICTURE, "WEBP", lossless=True, icc_profile=b"p" * 999, xmp=b"<x>" * 99_999)
    for data in (
        tagged,
        tagged[:-100_000],
        WEBP[:4] + b"\xff\xff\xff\x7f" + WEBP[8:],
        WEBP + b"behind",
    ):
        assert same(data, WEBP)
    with pytest.raises(PermanentImageError, match="cut off"):
        decode(WEBP[: len(WEBP) // 2], POLICY)


def test_a_gif_with_a_long_comment_or_without_its_end() -> None:
    assert same(saved(PICTURE, "GIF", comment=b"c" * 300_000), GIF)
    for missing in (1, 2):
        assert same(GIF[:-missing], GIF)


def test_an_exif_of_any_kind_turns_the_picture_or_leaves_it() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        exif = Image.Exif()
        exif[0x0112] = 6
        exif[270] = "d" * 60_000  # a description
        assert decode(saved(PICTURE, kind, exif=exif), POLICY).size == (64, 96), kind


@settings(max_examples=60, deadline=None)
@given(exif=st.binary(max_size=200))
def test_broken_exif_never_loses_an_image(exif: bytes) -> None:
    for data, add in ((JPEG, lambda body: jpeg_with(JPEG, 0xE1, b"Exif\0\0" + body)),
                      (PNG_FILE, lambda body: png_with(PNG_FILE, b"eXIf", body))):  # fmt: skip
        assert sorted(decode(add(b"MM\0*\0\0\0\x08" + exif), POLICY).size) == [64, 96], data[:4]


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from([name.encode() for name in ANCILLARY])
    | st.from_regex(rb"[a-z][A-Za-z]{3}", fullmatch=True),
    body=st.binary(max_size=300),
    wrong=st.booleans(),
)
def test_no_chunk_that_is_not_critical_loses_a_png(kind: bytes, body: bytes, wrong: bool) -> None:
    if kind in (b"tRNS", b"eXIf") and not wrong:
        assert decode(png_with(PNG_FILE, kind, body), POLICY).mode == "RGB"
    else:
        assert same(png_with(PNG_FILE, kind, body, wrong=wrong), PNG_FILE)


@settings(max_examples=60, deadline=None)
@given(marker=st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]), body=st.binary(max_size=400))
def test_no_segment_of_metadata_loses_a_jpeg(marker: int, body: bytes) -> None:
    if body.startswith(b"Exif\0\0"):
        return
    assert same(jpeg_with(JPEG, marker, body), JPEG)


def test_a_tiff_with_broken_or_large_tags() -> None:
    data = saved(PICTURE, "TIFF")
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = data[start + 2 : start + 2 + 12 * count]
    broken = [
        struct.pack("<HHII", tag, kind, length, offset)
        for tag, kind, length, offset in (
            (700, 1, 2**31, 8), (33432, 2, 99, 2**32 - 5), (34665, 4, 1, 2**31), (330, 13, 9, 8),
            (34675, 7, 2**30, 0), (40000, 99, 7, 7), (50000, 12, 2**29, 4),
        )
    ]  # fmt: skip
    directory = struct.pack("<H", count + len(broken)) + entries + b"".join(broken) + bytes(4)
    moved = data[:4] + struct.pack("<I", len(data)) + data[8:] + directory
    assert same(moved, data)
    endless = moved[:-4] + struct.pack("<I", len(data))  # the next picture is this one again
    assert same(endless, data)
