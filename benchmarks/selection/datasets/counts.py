"""A set made by code: how many things are on a picture."""

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.selection.datasets.composing import SIDE, camera
from benchmarks.selection.datasets.dataset import Labelled

MOST = 6
PICTURES = 2_400


def counts() -> Labelled:
    """One to MOST discs, boxes and triangles of any colour and size, none over another."""
    rng = np.random.default_rng(0)
    y = rng.integers(MOST, size=PICTURES)
    return Labelled([_things(int(label) + 1, rng) for label in y], y)


def _things(many: int, rng: np.random.Generator) -> Image.Image:
    canvas = Image.new("RGB", (SIDE, SIDE), _colour(rng))
    pen = ImageDraw.Draw(canvas)
    cells = rng.permutation(9)[:many]
    for cell in cells:
        radius = rng.uniform(8, 18)
        middle = SIDE / 3 * (np.array(divmod(int(cell), 3)) + 0.5) + rng.uniform(-3, 3, size=2)
        box = (tuple(middle - radius), tuple(middle + radius))
        match rng.integers(3):
            case 0:
                pen.ellipse(box, fill=_colour(rng))
            case 1:
                pen.rectangle(box, fill=_colour(rng))
            case _:
                circle = (float(middle[0]), float(middle[1]), float(radius))
                pen.regular_polygon(circle, 3, int(rng.integers(360)), fill=_colour(rng))
    return camera(canvas, rng)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(0, 256, size=3))
    return red, green, blue
