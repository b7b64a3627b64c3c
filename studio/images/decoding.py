"""Decodes image files into upright RGB images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from studio.images.policy import ImagePolicy, PassingImageError, PermanentImageError

# Raster formats only, the common ones first; JPEG includes MPO, what phones with two lenses make.
# Others (EPS, PDF, WMF …) run interpreters.
FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA",
)  # fmt: skip
EXIF_ORIENTATION = 0x0112
# Keys of `Image.info` under which Pillow keeps what can hold an orientation.
EXIF_KEYS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
TRANSPARENT_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})


def decode(data: bytes, policy: ImagePolicy) -> Image.Image:
    """The first frame as RGB, with the EXIF rotation applied and transparency laid on white.

    Raises PermanentImageError when `data` is no image, is cut off, or has too many pixels; the
    pixels are counted from the header, before anything is decoded.
    """
    try:
        image = _open(data, policy)
        image.load()
        return _rgb(_upright(image))
    except (PermanentImageError, PassingImageError):
        raise
    except MemoryError as exc:
        raise PassingImageError("not enough memory for the image") from exc
    except Exception as exc:
        # Pillow's readers raise nearly anything on broken files: OSError, SyntaxError, ValueError,
        # struct.error, zlib.error, EOFError, IndexError, …
        raise PermanentImageError(f"the image is broken or cut off: {exc}"[:300]) from exc


def _open(data: bytes, policy: ImagePolicy) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as exc:
        raise PermanentImageError(f"not an image that can be read: {_looks_like(data)}") from exc
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise PermanentImageError(f"too many pixels: {exc}") from exc
    width, height = image.size
    if width * height > policy.max_pixels:
        raise PermanentImageError(
            f"too many pixels: {width} × {height} = {width * height / 1e6:.0f} million; "
            f"{policy.max_pixels / 1e6:g} million are allowed"
        )
    side = policy.draft_side
    if image.format in ("JPEG", "MPO") and side and min(width, height) >= 2 * side:
        image.draft(None, (side, side))
    return image


def _upright(image: Image.Image) -> Image.Image:
    # Asking Pillow for the EXIF of an image without any costs as much as decoding a thumbnail.
    if image.format != "TIFF" and not any(key in image.info for key in EXIF_KEYS):
        return image
    try:
        if image.getexif().get(EXIF_ORIENTATION, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except Exception:
        # Broken EXIF raises as much as broken pixels do, but browsers show such an image: unturned.
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        return _stretched(np.asarray(image))
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint16)
    if image.format == "TIFF":
        # Browsers show no TIFF, and 12 bits in a 16-bit file (microscopes) would be almost black.
        return _stretched(values)
    # As browsers show it, so as the annotators see it: the upper byte.
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


def _stretched(values: npt.NDArray[Any]) -> Image.Image:
    """Gray from the smallest to the largest value: for kinds of pixel without a natural range."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(np.rint(scaled).astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _looks_like(data: bytes) -> str:
    """Guess the format of the bytes, for the error message."""
    start = data[:200].lstrip().lower()
    if not data:
        return "it is empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"<svg", b"<?xml")):
        return "it is SVG or XML"
    if start.startswith(b"%pdf"):
        return "it is a PDF"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:200]):
        return f"it is text that begins with {data[:40].decode('ascii')!r}"
    return f"it begins with {data[:8].hex(' ')}"
