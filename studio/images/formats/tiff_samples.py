"""Decodes TIFF files: 8 bits as they are, deeper samples by their robust range."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from studio.images.formats.container import UnsupportedError
from studio.images.formats.pixels import (
    DEEP_MODES,
    Factor,
    Rows,
    other_byte,
    rows_of,
    rows_of_16_bits,
    stretched_to_rgb,
    to_rgb,
)
from studio.images.formats.tiff import TiffContainer


def tiff_to_rgb(container: TiffContainer, factor: Factor) -> Image.Image:
    """The picture as RGB, divided by `factor` and not yet turned upright."""
    if container.planes:
        files = (container.directory.written(tags) for tags in container.planes)
        bands = [_open(file, container) for file in files]
    else:
        bands = [_open(container.data, container)]
    for band in bands:
        _correct_byte_order(band)
    mode, first = bands[0].mode, bands[0]
    if mode in DEEP_MODES or mode.startswith("I;16"):
        for band in bands:
            band.load()
        return _stretched(container, rows_of(bands, unsigned=container.unsigned), factor)
    if len(bands) == 3:
        return to_rgb(Image.merge("RGB", bands), factor)
    rawmode = _rawmode(first)
    if rawmode.startswith(("RGB;16", "RGBX;16", "RGBA;16")):
        low = _open(container.data, container)
        _set_rawmode(low, other_byte(rawmode))
        first.load()
        low.load()
        rgb = _stretched(container, rows_of_16_bits(first, low), factor)
        return rgb if container.untagged_extra else _on_white(rgb, first, factor)
    first.load()
    if container.untagged_extra and first.mode == "RGBA":
        return to_rgb(first, factor, opaque=True)
    return to_rgb(first, factor)


def _correct_byte_order(image: ImageFile) -> None:
    """Have compressed big-endian samples read in the machine's byte order.

    That is how libtiff hands them on; Pillow allows for it with unsigned 16-bit samples alone.
    """
    rawmode = _rawmode(image)
    if rawmode.endswith(("BS", "BF")) and image.tile[0].codec_name == "libtiff":
        _set_rawmode(image, rawmode[:-2] + "N" + rawmode[-1])


def _set_rawmode(image: ImageFile, rawmode: str) -> None:
    image.tile = [tile._replace(args=(rawmode, *(tile.args or ())[1:])) for tile in image.tile]


def _rawmode(image: ImageFile) -> str:
    arguments = image.tile[0].args if image.tile else None
    return arguments[0] if isinstance(arguments, tuple) else ""


def _on_white(rgb: Image.Image, image: Image.Image, factor: Factor) -> Image.Image:
    if image.mode != "RGBA":
        return rgb
    alpha = image.getchannel("A")
    canvas = Image.new("RGB", rgb.size, "white")
    canvas.paste(rgb, mask=alpha if factor == (1, 1) else alpha.reduce(factor))
    return canvas


def _open(data: bytes, container: TiffContainer) -> ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=("TIFF",))
    except UnidentifiedImageError:
        raise UnsupportedError(
            f"a TIFF with {container.kind}, which can't be read: convert it to bands of 8 bits"
        ) from None


def _stretched(container: TiffContainer, rows: Rows, factor: Factor) -> Image.Image:
    return stretched_to_rgb(
        container.shape,
        rows,
        factor,
        no_data=container.no_data,
        invert=container.white_is_zero,
    )
