"""What a file is, when it can't be read: its kind and length, nothing of its bytes."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.images.formats import signatures
from studio.images.loader import ImageError, ImagePolicy, PermanentImageError, decode
from tests.support.image_files import picture, saved

POLICY = ImagePolicy(max_pixels=1_000_000)
SECRET = b"c0ffee4b5d6e7f8a9b0c1d2e3f"
KNOWN = [start for start, _ in signatures.STARTS]
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (bytes(128) + b"DICM", "a DICOM file, .* windowed"),
        (b"\x08\0\x05\0UI\0\0", "a DICOM file"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"icns\0\0\0\x10", "an ICNS"),
        (b"II*\0\x10\0\0\0CR\2\0", "a camera's raw file"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera's raw file"),
        (b"\0\0\0\x18ftypmp42\0\0\0\1", "a video"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"SIMPLE  =                    T", "a FITS file"),
        (b"\x93NUMPY\1\0", "a NumPy array"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x1f\x8b\x08\0", "gzip-compressed data"),
        (b"PK\3\4", "a ZIP archive"),
        (b"%PDF-1.7", "a PDF"),
        (b"%!PS-Adobe", "a PostScript file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<svg>", "an SVG drawing"),
        (b"\xef\xbb\xbf  <!DOCTYPE html>", "an HTML page"),
        (b'{"detail": "', "JSON"),
        ("Ünïcode text: ".encode(), "text"),
        (b"\xd0\xcf\x11\xe0", "data of an unknown kind"),
        (b"\x89PNG\r\n\x1a\n", "a PNG"),
        (b"\xff\xd8\xff\xe0", "a JPEG"),
        (b"GIF89a", "a GIF"),
        (b"RIFF\0\0\0\0WEBP", "a WebP image"),
        (b"II*\0", "a TIFF"),
        (b"MM\0+", "a TIFF"),
        (b"BM", "a BMP"),
        (b"\0\0\1\0\1\0", "an ICO"),
        (b"P6 12 ", "a PPM"),
        (b"P5 " + SECRET[:4], "a PPM"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "an AVIF image"),
        (HEIC, "a HEIC image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\xff\x0a", "a JPEG XL image"),
    ],
)
def test_a_file_is_named_and_not_quoted(start: bytes, name: str) -> None:
    with pytest.raises(PermanentImageError, match=name) as caught:
        decode(start + SECRET, POLICY)
    reason = caught.value.reason
    assert SECRET.decode()[:6] not in reason
    assert SECRET.hex()[:6] not in reason
    assert SECRET.hex(" ")[:8] not in reason


def test_heic_and_jpeg_xl_are_read_where_the_plugin_is(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"HEIF": saved(picture(), "HEIF"), "JXL": saved(picture(), "JXL")}
    for kind, data in files.items():
        assert decode(data, POLICY).size == (96, 64), kind
    monkeypatch.setattr(signatures, "PLUGINS", frozenset())
    for kind, package in (("HEIF", "pillow-heif"), ("JXL", "pillow-jxl-plugin")):
        with pytest.raises(PermanentImageError, match=f"which needs the Python package {package}"):
            decode(files[kind], POLICY)


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([*KNOWN, HEIC, b"", b"RIFF\0\1\0\0WEBPVP8 ", b"\0\0\2\0"]),
    rest=st.binary(max_size=120),
)
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_are_an_image_or_an_image_error_that_does_not_quote_them(
    start: bytes, rest: bytes
) -> None:
    marker = b"QzX7"
    reason = ""
    try:
        assert decode(start + rest + marker, POLICY).mode == "RGB"
    except ImageError as error:
        reason = error.reason
    assert marker.decode() not in reason


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG2000", "AVIF", "HEIF", "JXL", "PPM", "MPO", "ICO"])
def test_damage_gives_an_image_or_an_image_error(kind: str) -> None:
    dice = random.Random(kind)
    whole = saved(picture(), kind)
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if dice.random() < 0.3:
            del data[dice.randrange(len(data)) :]
        with contextlib.suppress(ImageError):
            assert decode(bytes(data), POLICY).mode == "RGB"
