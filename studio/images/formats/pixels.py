"""Turns decoded pixels of any kind into 8-bit RGB, strip by strip: memory stays bounded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from studio.images.formats.stretch import LEVELS, Stretch, fit_stretch

STRIP = 300_000  # pixels
SAMPLE = 300_000  # values that the stretch is fitted to
TRANSPARENT_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
DEEP_MODES = ("I", "F")  # pixels without a natural range
GLANCE = 128  # pixels a side

Factor = tuple[int, int]  # that width and height are divided by
Rows = Callable[[int, int], npt.NDArray[Any]]  # from row, to row -> [rows, width, bands]


def to_rgb(image: Image.Image, factor: Factor, *, opaque: bool = False) -> Image.Image:
    """A picture with a natural range as RGB, divided by `factor`.

    Transparency is laid on white; `opaque` leaves it out.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        # Pillow's class of JPEG 2000 files has a number of this name.
        return image if factor == (1, 1) else Image.Image.reduce(image, factor)
    convert = _without_alpha if opaque else _converter(image)
    strips = _strips(image.size, factor[1])
    return _assembled(
        image.size,
        factor,
        ((top, convert(image.crop((0, top, image.width, end)))) for top, end in strips),
    )


def _converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    if image.mode.startswith("I;16"):
        # As browsers show it, so as the annotators see it: the upper byte.
        return lambda strip: _gray((np.asarray(strip) >> 8).astype(np.uint8))
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        return _on_white
    return _without_alpha


def stretched_to_rgb(
    size: tuple[int, int],
    rows: Rows,
    factor: Factor,
    *,
    no_data: float | None = None,
    invert: bool = False,
) -> Image.Image:
    """Samples without a natural range as RGB: one stretch for all bands, 1 or 3."""
    width, height = size
    bands = rows(0, 1).shape[2]
    step = max(1, int((width * height * bands / SAMPLE) ** 0.5))
    sample = np.concatenate(
        [rows(top, end)[::step, ::step].ravel() for top, end in _strips(size, step)]
    )
    stretch = fit_stretch(sample.astype(np.float64), no_data)
    return _assembled(
        size,
        factor,
        (
            (top, _picture(stretch, rows(top, end), invert=invert))
            for top, end in _strips(size, factor[1])
        ),
    )


def rows_of(images: Sequence[Image.Image], *, unsigned: bool = False) -> Rows:
    """The samples of one band an image; `unsigned` as 32-bit numbers are where they can be."""

    def read(top: int, end: int) -> npt.NDArray[Any]:
        bands = [np.asarray(image.crop((0, top, image.width, end))) for image in images]
        if unsigned:
            bands = [band.view(np.uint32) if band.dtype == np.int32 else band for band in bands]
        return np.stack(bands, axis=-1)

    return read


def rows_of_16_bits(high: Image.Image, low: Image.Image) -> Rows:
    """The samples of an image that was decoded twice: the upper and the lower bytes."""

    def read(top: int, end: int) -> npt.NDArray[Any]:
        box = (0, top, high.width, end)
        upper, lower = (np.asarray(image.crop(box))[..., :3] for image in (high, low))
        values: npt.NDArray[Any] = upper.astype(np.uint16) << 8 | lower
        return values

    return read


def other_byte(rawmode: str) -> str:
    """Pillow's raw mode for the other byte of 16-bit samples, which it reads one byte of."""
    stem, order = rawmode[:-1], rawmode[-1]
    native = "L" if sys.byteorder == "little" else "B"
    return stem + ("B" if (native if order == "N" else order) == "L" else "L")


def few_levels(image: Image.Image) -> int | None:
    """How many grey levels an RGB picture has, None when they are enough for a picture."""
    glance = image.resize((min(GLANCE, image.width), min(GLANCE, image.height)), 0)
    if _levels(glance) >= LEVELS:
        return None
    levels = _levels(image)
    return levels if levels < LEVELS else None


def _levels(image: Image.Image) -> int:
    return sum(1 for count in image.convert("L").histogram() if count)


def _strips(size: tuple[int, int], multiple: int) -> Iterator[tuple[int, int]]:
    """The first row of each strip and the one after its last, in multiples of `multiple`."""
    rows = max(1, STRIP // size[0] // multiple) * multiple
    return ((top, min(top + rows, size[1])) for top in range(0, size[1], rows))


def _assembled(
    size: tuple[int, int], factor: Factor, strips: Iterator[tuple[int, Image.Image]]
) -> Image.Image:
    across, down = factor
    canvas = Image.new("RGB", (-(-size[0] // across), -(-size[1] // down)))
    for top, strip in strips:
        canvas.paste(strip if factor == (1, 1) else strip.reduce(factor), (0, top // down))
    return canvas


def _picture(stretch: Stretch, values: npt.NDArray[Any], *, invert: bool) -> Image.Image:
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # a table is ten times faster
        pixels = stretch.apply(np.arange(2**16, dtype=np.float64))[values]
    else:
        pixels = stretch.apply(values.astype(np.float64))
    if invert:
        pixels = 255 - pixels
    return Image.fromarray(pixels) if pixels.shape[2] == 3 else _gray(pixels[..., 0])


def _without_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _gray(values: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(values).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas
