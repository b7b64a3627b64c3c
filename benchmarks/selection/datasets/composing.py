"""Composes pictures: crops of photographs, pictures pasted on them, light and noise."""

import importlib.resources

import numpy as np
from PIL import Image

from benchmarks.selection.datasets.dataset import Images

BICUBIC = Image.Resampling.BICUBIC
SIDE = 128  # pixels of a composed picture
PHOTOGRAPHS = (
    ("sklearn.datasets", "images/china.jpg"),
    ("sklearn.datasets", "images/flower.jpg"),
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "coffee.png"),
    ("skimage.data", "hubble_deep_field.jpg"),
    ("skimage.data", "ihc.png"),
    ("skimage.data", "motorcycle_left.png"),
    ("skimage.data", "retina.jpg"),
    ("skimage.data", "rocket.jpg"),
)


def photographs() -> Images:
    """The ten photographs of scikit-learn and scikit-image."""
    return [bundled(package, name) for package, name in PHOTOGRAPHS]


def bundled(package: str, name: str) -> Image.Image:
    """A picture that a package brings along."""
    with importlib.resources.files(package).joinpath(name).open("rb") as file:
        return Image.open(file).convert("RGB")


def crop(
    picture: Image.Image, rng: np.random.Generator, least: float = 0.2, most: float = 0.6
) -> Image.Image:
    """A square piece; its side is a share of the shorter side."""
    side = int(min(picture.size) * rng.uniform(least, most))
    left, top = (int(rng.integers(0, length - side)) for length in picture.size)
    return picture.crop((left, top, left + side, top + side))


def background(pictures: Images, rng: np.random.Generator) -> Image.Image:
    """A piece of one of the pictures, SIDE pixels wide and high."""
    return crop(pictures[rng.integers(len(pictures))], rng).resize((SIDE, SIDE))


def paste(canvas: Image.Image, piece: Image.Image, rng: np.random.Generator) -> None:
    """Put a piece (RGBA) at a random place of the canvas, wholly inside."""
    room = [max(c - p, 0) for c, p in zip(canvas.size, piece.size, strict=True)]
    left, top = (int(rng.integers(0, most + 1)) for most in room)
    canvas.paste(piece, (left, top), piece)


def stamp(
    picture: Image.Image, rng: np.random.Generator, least: float, most: float, turn: float
) -> Image.Image:
    """A picture (RGBA) at a share of SIDE, turned by up to `turn` degrees."""
    side = int(SIDE * rng.uniform(least, most))
    turned = picture.resize((side, side)).rotate(rng.uniform(-turn, turn), BICUBIC, expand=True)
    return turned.resize((min(turned.width, SIDE), min(turned.height, SIDE)))


def camera(
    picture: Image.Image,
    rng: np.random.Generator,
    light: tuple[float, float] = (0.6, 1.2),
    noise: float = 25,
) -> Image.Image:
    """The picture in another light, with noise of a standard deviation of up to `noise`."""
    pixels = np.asarray(picture.convert("RGB"), np.float64) * rng.uniform(*light)
    pixels += rng.normal(scale=rng.uniform(0, noise), size=pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
