"""Recognises kinds of file by their first bytes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Signature:
    """A kind of file.

    `format` is Pillow's name where it can be read; `hint` is what people can do where it can't.
    """

    name: str  # with its article: "a PNG"
    format: str = ""
    hint: str = ""


CONVERT = "which can't be read: convert it to PNG or JPEG"
JPEG_XL = Signature("a JPEG XL image", "JXL", "which needs the Python package pillow-jxl-plugin")
HEIC = Signature("a HEIC image", "HEIF", "which needs the Python package pillow-heif")
AVIF = Signature("an AVIF image", "AVIF")
TIFF = Signature("a TIFF", "TIFF")
PPM = Signature("a PPM", "PPM")
# The longest first where one begins like another.
STARTS: tuple[tuple[bytes, Signature], ...] = (
    (b"\xff\xd8\xff", Signature("a JPEG", "JPEG")),
    (b"\x89PNG\r\n\x1a\n", Signature("a PNG", "PNG")),
    (b"GIF8", Signature("a GIF", "GIF")),
    (b"BM", Signature("a BMP", "BMP")),
    (b"II*\0\x10\0\0\0CR", Signature("a camera's raw file", hint=CONVERT)),
    *((start, TIFF) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Signature("a JPEG 2000 image", "JPEG2000")),
    (b"\xff\x4f\xff\x51", Signature("a JPEG 2000 image", "JPEG2000")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"\0\0\1\0", Signature("an ICO", "ICO")),
    (b"icns", Signature("an ICNS", hint=CONVERT)),
    *((b"P" + kind + space, PPM) for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"f")
      for space in (b"\n", b" ", b"\r", b"\t", b"#")),
    (b"8BPS", Signature("a Photoshop file", hint=CONVERT)),
    (b"\x76\x2f\x31\x01", Signature("an OpenEXR image", hint=CONVERT)),
    (b"II\xbc\x01", Signature("a JPEG XR image", hint=CONVERT)),
    (b"DDS ", Signature("a DDS texture", hint=CONVERT)),
    (b"%PDF", Signature("a PDF", hint="which is no image: convert its pages to PNG or JPEG")),
    (b"%!PS", Signature("a PostScript file", hint=CONVERT)),
    (b"SIMPLE  =", Signature("a FITS file", hint=CONVERT)),
    (b"\x93NUMPY", Signature("a NumPy array", hint=CONVERT)),
    (b"\x89HDF\r\n\x1a\n", Signature("an HDF5 file", hint=CONVERT)),
    (b"PK\3\4", Signature("a ZIP archive", hint="which is no image")),
    (b"\x1f\x8b", Signature("gzip-compressed data", hint="which is no image")),
    (b"\x1a\x45\xdf\xa3", Signature("a video", hint="which is no image")),
)  # fmt: skip
BRANDS = (
    (HEIC, (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")),
    (AVIF, (b"avif", b"avis")),
)
DICOM = Signature(
    "a DICOM file", hint="which can't be read: export its frames as PNG, windowed as people see it"
)


def identify(data: bytes) -> Signature | None:
    """The kind of file, None where the first bytes say nothing."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Signature("a WebP image", "WEBP")
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    if data[128:132] == b"DICM" or data[:8] in (b"\x08\0\x05\0UI\0\0", b"\x02\0\0\0UL\x04\0"):
        return DICOM
    for start, signature in STARTS:
        if data.startswith(start):
            return signature
    return _text(data)


def _by_brand(data: bytes) -> Signature:
    length = min(int.from_bytes(data[:4], "big"), 400)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, length, 4))]
    if brands[0] in (b"mif1", b"msf1") and b"avif" in brands:
        return AVIF  # the first brand says only that it is such a container
    for signature, names in BRANDS:
        if brands[0] in names:
            return signature
    if brands[0] == b"crx ":
        return Signature("a camera's raw file", hint=CONVERT)
    if any(brand in names for names in (BRANDS[0][1], BRANDS[1][1]) for brand in brands):
        return AVIF if b"avif" in brands else HEIC
    return Signature("a video", hint="which is no image")


def _text(data: bytes) -> Signature | None:
    start = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Signature("an HTML page", hint="which is no image")
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--")) and b"<svg" in start):
        return Signature("an SVG drawing", hint=CONVERT)
    if start.startswith(b"<?xml"):
        return Signature("XML", hint="which is no image")
    try:
        text = data[:200].decode()
    except UnicodeDecodeError as error:
        if error.start < min(len(data), 200) - 3:  # not just a character that the cut went through
            return None
        text = data[: error.start].decode()
    if text and all(character.isprintable() or character in "\t\n\r" for character in text):
        kind = "JSON" if text.lstrip()[:1] in ("{", "[") else "text"
        return Signature(kind, hint="which is no image")
    return None


def readable(signature: Signature) -> bool:
    """Whether the kind can be read with what is installed."""
    return bool(signature.format) and (
        signature.format not in ("HEIF", "JXL") or signature.format in PLUGINS
    )


def _register_plugins() -> frozenset[str]:
    """Register the installed plugins with Pillow; return their formats, by Pillow's names."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        # Depth maps, hidden pictures and thumbnails would only be parsed.
        pillow_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
        )
    with contextlib.suppress(ImportError):
        import pillow_jxl  # noqa: F401 - registers itself
    return frozenset({"HEIF", "JXL"} & Image.OPEN.keys())


PLUGINS = _register_plugins()
