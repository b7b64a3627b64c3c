"""Decodes image files into upright RGB images, within the limits of a policy."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from studio.images.formats import gif, ico, jpeg, pixels, png, sizes, webp
from studio.images.formats.container import (
    Container,
    UnreadableError,
    UnsupportedError,
    exif_orientation,
)
from studio.images.formats.signatures import identify, readable
from studio.images.formats.tiff import TiffContainer
from studio.images.formats.tiff import clean as clean_tiff
from studio.images.formats.tiff_samples import tiff_to_rgb
from studio.images.memory import BUDGET, BYTES_A_PIXEL, MOST_ALONE
from studio.images.policy import ImagePolicy, PassingImageError, PermanentImageError

# What turns a stored picture upright, by its EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pictures with more pixels are shrunk where their sides allow it: a backbone sees far fewer.
LARGE = 4_000_000
MOST_KEPT = 16_000_000  # pixels that are handed on
CLEANERS: Mapping[str, Callable[[bytes], Container]] = {
    "JPEG": jpeg.clean,
    "PNG": png.clean,
    "GIF": gif.clean,
    "WEBP": webp.clean,
    "TIFF": clean_tiff,
    "ICO": ico.clean,
    "JPEG2000": sizes.clean_jpeg_2000,
    "JXL": sizes.clean_jpeg_xl,
    "PPM": sizes.clean_ppm,
}
# TGA has no signature, and is tried where there is none. Formats that run interpreters (EPS, PDF,
# WMF, …) are never tried.
WITHOUT_SIGNATURE = "TGA"


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB image; `warning` says what is suspicious about it, None where nothing is."""

    image: Image.Image
    warning: str | None = None


def decode(data: bytes, policy: ImagePolicy) -> Image.Image:
    """The first picture as RGB: `decode_image` without its warning."""
    return decode_image(data, policy).image


def decode_image(data: bytes, policy: ImagePolicy) -> DecodedImage:
    """The first picture as RGB, with the EXIF rotation applied and transparency laid on white.

    Large pictures are shrunk while no side gets shorter than `policy.draft_side`. Raises
    PermanentImageError when `data` is no image, is cut off, or has too many pixels; the pixels are
    counted from the header, before anything is decoded. Messages hold nothing of the data.
    """
    signature = identify(data)
    if signature is not None and not readable(signature):
        what = f"{signature.name}, {len(data):,} bytes, {signature.hint}"
        raise PermanentImageError(f"not an image that can be read: {what}")
    name = signature.name if signature else f"data of an unknown kind, {len(data):,} bytes"
    try:
        format_ = signature.format if signature else WITHOUT_SIGNATURE
        cleaner = CLEANERS.get(format_)
        return _decoded(cleaner(data) if cleaner else Container(data, format_), policy)
    except (PermanentImageError, PassingImageError):
        raise
    except MemoryError as exc:
        raise PassingImageError("not enough memory for the image") from exc
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise PermanentImageError(f"too many pixels: {exc}") from None
    except UnsupportedError as exc:
        raise PermanentImageError(f"not an image that can be read: {exc}") from None
    except UnreadableError as exc:
        raise PermanentImageError(f"the image is broken or cut off: {name}: {exc}") from None
    except Exception as exc:
        # Pillow's readers raise nearly anything on broken files: OSError, SyntaxError, ValueError,
        # struct.error, zlib.error, EOFError, IndexError, … Some quote the file.
        if signature is None:
            what = name if data else "it is empty"
            raise PermanentImageError(f"not an image that can be read: {what}") from None
        kind = "" if isinstance(exc, UnidentifiedImageError) else f" ({type(exc).__name__})"
        raise PermanentImageError(f"the image is broken or cut off: {name}{kind}") from None


def _decoded(container: Container, policy: ImagePolicy) -> DecodedImage:
    _check_pixels(container.size or (0, 0), policy)
    side = policy.draft_side
    bilevel = container.bilevel
    orientation = container.orientation
    if isinstance(container, TiffContainer):
        with _memory(container, container.size or container.shape):
            rgb = tiff_to_rgb(container, _factor(container.shape, side))
    else:
        image = _opened(container.data, container.format)
        _check_pixels(image.size, policy)
        bilevel = image.mode == "1"
        if "exif" in image.info:  # of a format without a cleaner
            orientation = exif_orientation(image.info["exif"])
        cost, shape = _shrunk_while_decoded(image, container, side)
        with _memory(container, cost):
            rgb = _rgb(_loaded(image, container), container.format, _factor(shape, side))
    turned = rgb.transpose(TURNS[orientation]) if orientation in TURNS else rgb
    few = None if bilevel else pixels.few_levels(turned)
    levels = "one grey level" if few == 1 else f"{few} grey levels"
    warning = f"the picture is suspicious, with only {levels}" if few else None
    return DecodedImage(turned, warning)


def _factor(size: tuple[int, int], side: int) -> tuple[int, int]:
    """By what a picture's width and height are divided."""
    if side <= 0 or size[0] * size[1] <= LARGE:
        return 1, 1
    both = max(min(size) // side, 1)
    longer = -(-size[0] * size[1] // (both * both * MOST_KEPT))  # of a long, thin picture
    return (both * longer, both) if size[0] > size[1] else (both, both * longer)


def _memory(container: Container, size: tuple[int, int]) -> contextlib.AbstractContextManager[None]:
    a_pixel = container.bytes_a_pixel or BYTES_A_PIXEL[container.format]
    if size[0] * size[1] * a_pixel > MOST_ALONE:
        what = f"{size[0]} × {size[1]} pixels"
        raise UnsupportedError(f"{what}, which take too much memory in this format")
    # The file, and its copy without metadata.
    return BUDGET.hold(size[0] * size[1] * a_pixel + 2 * len(container.data))


def _shrunk_while_decoded(
    image: ImageFile, container: Container, side: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Have the decoder itself shrink the picture.

    Returns the size that its memory depends on, and the picture's own afterwards.
    """
    size = image.size
    if container.format == "JPEG" and side and min(size) >= 2 * side:
        image.draft(None, (side, side))
        return size, image.size
    halvings = min(container.halvings, min(_factor(size, side)).bit_length() - 1)
    if halvings:
        image.reduce = halvings  # type: ignore[assignment,method-assign] # a property of JPEG 2000
        size = size[0] >> halvings, size[1] >> halvings
    return size, size


def _rgb(image: Image.Image, format_: str, factor: tuple[int, int]) -> Image.Image:
    # Browsers show neither PGM nor JPEG 2000 of 16 bits, and satellites' use 12 bits of these.
    deep = image.mode in pixels.DEEP_MODES
    if deep or (image.mode.startswith("I;16") and format_ == "JPEG2000"):
        return pixels.stretched_to_rgb(image.size, pixels.rows_of([image]), factor)
    return pixels.to_rgb(image, factor)


def _loaded(image: Image.Image, container: Container) -> Image.Image:
    try:
        image.load()
    except OSError:
        if container.format == "PNG":
            return _opened(png.without_checksum(container.data), "PNG")
        if container.format != "JPEG" or not jpeg.lacks_end(container.data):
            raise
        return _without_end(image.size, container.data)
    return image


def _opened(data: bytes, format_: str) -> ImageFile:
    """The picture, which `to_rgb` loads. Raises what Pillow raises."""
    return Image.open(io.BytesIO(data), formats=(format_,))


def _without_end(size: tuple[int, int], data: bytes) -> Image.Image:
    """A JPEG without its last marker: whole, if what follows its last byte makes no difference."""
    ended = jpeg.ended(data)
    if ended is None:
        raise UnreadableError("it is cut off")
    first, second = (_opened(variant, "JPEG") for variant in ended)
    for image in (first, second):
        image.draft(None, size)
    if first.tobytes() != second.tobytes():
        raise UnreadableError("it is cut off")
    return first


def _check_pixels(size: tuple[int, int], policy: ImagePolicy) -> None:
    width, height = size
    if width * height > policy.max_pixels:
        raise PermanentImageError(
            f"too many pixels: {width} × {height} = {width * height / 1e6:.0f} million; "
            f"{policy.max_pixels / 1e6:g} million are allowed"
        )
