"""Sets of surfaces: scikit-image's textures, and faults on some of them.

Brick, grass, gravel, retina and chelsea are under CC0; of the other pictures scikit-image says that
they are in the public domain or that it knows no restriction, of moon and page nothing.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.selection.datasets.composing import SIDE, bundled, camera, crop
from benchmarks.selection.datasets.dataset import Images, Labelled

TEXTURES = (
    "brick.png",
    "grass.png",
    "gravel.png",
    "coins.png",
    "ihc.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "page.png",
    "retina.jpg",
    "text.png",
    "chelsea.png",
    "rocket.jpg",
)
PER_TEXTURE = 200
SURFACES = 3_000
GOOD = 0.8  # of the surfaces have no fault
ARC = (200, 340)  # degrees: the shaded rim of a dent
FAULTS = ("scratch", "stain", "hole", "dent")


def textures() -> Labelled:
    """Small grey pieces of TEXTURES, in another light, out of focus, noisy."""
    rng = np.random.default_rng(0)
    pictures = [bundled("skimage.data", name).convert("L") for name in TEXTURES]
    y = np.repeat(np.arange(len(pictures)), PER_TEXTURE)
    return Labelled([_piece(pictures[label], rng) for label in y], y)


def _piece(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    piece = crop(picture, rng, 0.08, 0.25).resize((SIDE, SIDE)).rotate(90 * int(rng.integers(4)))
    pixels = np.asarray(piece, np.float64)
    # Brightness and contrast tell nothing then.
    pixels = 128 + rng.uniform(15, 50) * (pixels - pixels.mean()) / (pixels.std() + 8)
    blurred = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0, 2.5))
    )
    return camera(blurred, rng, (0.7, 1.2), 35)


def faults() -> Labelled:
    """Pieces of brick, grass and gravel: four in five good, the others with one of FAULTS."""
    rng = np.random.default_rng(0)
    pictures = [bundled("skimage.data", name) for name in TEXTURES[:3]]
    y = np.where(rng.random(SURFACES) < GOOD, 0, rng.integers(1, 1 + len(FAULTS), size=SURFACES))
    return Labelled([_surface(pictures, int(label), rng) for label in y], y)


def _surface(pictures: Images, label: int, rng: np.random.Generator) -> Image.Image:
    surface = crop(pictures[rng.integers(len(pictures))], rng, 0.25, 0.5).resize((SIDE, SIDE))
    if label:
        mask = Image.new("L", (SIDE, SIDE))
        _draw(ImageDraw.Draw(mask), FAULTS[label - 1], rng)
        soft = mask.filter(ImageFilter.GaussianBlur(1 if label != 2 else 4))
        fault = 30 if FAULTS[label - 1] == "hole" else int(rng.choice([40, 235]))
        surface.paste(Image.new("RGB", (SIDE, SIDE), (fault,) * 3), (0, 0), soft)
    return camera(surface, rng, noise=12)


def _draw(pen: ImageDraw.ImageDraw, fault: str, rng: np.random.Generator) -> None:
    x, y = (float(v) for v in rng.uniform(30, SIDE - 30, size=2))
    angle, length = rng.uniform(0, np.pi), rng.uniform(20, 50)
    dx, dy = length * np.cos(angle), length * np.sin(angle)
    radius = rng.uniform(7, 14)
    if fault == "scratch":
        pen.line((x - dx, y - dy, x + dx, y + dy), fill=255, width=int(rng.integers(2, 5)))
    elif fault == "stain":
        for _ in range(5):
            a, b = rng.normal(scale=radius, size=2)
            pen.ellipse((x + a - radius, y + b - radius, x + a + radius, y + b + radius), fill=230)
    elif fault == "hole":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    else:
        pen.arc((x - 2 * radius, y - 2 * radius, x + 2 * radius, y + 2 * radius), *ARC, 255, 5)
