"""Sets of letters and of typefaces, set in the fonts of the Fontsource packages (OFL-1.1 or
Apache-2.0, see packages.txt).
"""

import io
import string
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.selection.datasets.composing import SIDE, camera
from benchmarks.selection.datasets.dataset import Images, Labelled
from benchmarks.selection.datasets.packages import member, pinned

PREFIX = "@fontsource/"
# Pairs that only a second look tells apart are among them.
TYPEFACES = (
    "roboto",
    "lato",
    "montserrat",
    "josefin-sans",
    "merriweather",
    "old-standard-tt",
    "playfair-display",
    "courier-prime",
    "special-elite",
    "caveat",
    "kalam",
    "patrick-hand",
)
PER_TYPEFACE = 200


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(
        io.BytesIO(member(PREFIX + name, f"files/{name}-latin-400-normal.woff2")), size
    )


def letters() -> Labelled:
    """The letters of the alphabet, large and small alike, in all the fonts."""
    rng = np.random.default_rng(0)
    fonts = [name.removeprefix(PREFIX) for name in sorted(pinned()) if name.startswith(PREFIX)]
    texts = [(font, letter) for font in fonts for letter in string.ascii_letters]
    images = [_written(letter, font, int(rng.integers(40, 90)), rng) for font, letter in texts]
    y = [string.ascii_lowercase.index(letter.lower()) for _, letter in texts]
    return Labelled(images, np.array(y))


def typefaces() -> Labelled:
    """Words of random letters; the class is the typeface."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(TYPEFACES)), PER_TYPEFACE)
    images: Images = []
    for label in y:
        size = int(rng.integers(4, 8))
        word = "".join(str(c) for c in rng.choice(list("aabcdeeefghiiklmnnoopqrrssttuvwyz"), size))
        images.append(_written(word.title(), TYPEFACES[label], int(rng.integers(22, 40)), rng))
    return Labelled(images, y)


def _written(text: str, font: str, size: int, rng: np.random.Generator) -> Image.Image:
    paper = tuple(int(v) for v in rng.integers(130, 256, size=3))
    ink = tuple(int(v) for v in rng.integers(0, 110, size=3))
    canvas = Image.new("RGB", (SIDE, SIDE), paper)
    middle = SIDE / 2 + rng.uniform(-12, 12, size=2)
    ImageDraw.Draw(canvas).text(tuple(middle), text, fill=ink, font=_font(font, size), anchor="mm")
    turned = canvas.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, fillcolor=paper)
    return camera(turned, rng)
