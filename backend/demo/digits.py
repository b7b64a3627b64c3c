"""Handwritten digits of 13 people, enlarged: the test set of the UCI digits, from scikit-learn.

E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits (UCI repository, 1998; CC BY 4.0).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image

from backend.demo.dataset import DatasetMissingError, SampleSet
from model.arrays import Floats

CLASSES = tuple(str(digit) for digit in range(10))
SIDE = 192  # pixels of an enlarged image
INK = 16  # the darkest value


def _read() -> Mapping[str, Sequence[Callable[[], bytes]]]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise DatasetMissingError(
            "the sample images are not installed: pip install scikit-learn"
        ) from error
    digits = load_digits()
    found: dict[str, list[Callable[[], bytes]]] = {label: [] for label in CLASSES}
    for strokes, digit in zip(digits.images, digits.target, strict=True):
        found[str(digit)].append(partial(_png, strokes))
    return found


def _png(strokes: Floats) -> bytes:
    """A PNG of dark ink on white paper, of strokes [8, 8] from 0 to INK."""
    paper = Image.fromarray((255 * (1 - strokes / INK)).astype(np.uint8))
    stream = BytesIO()
    paper.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


DIGITS = SampleSet("Handwritten digits", "digit", "png", CLASSES, _read)
