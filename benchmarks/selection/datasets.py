"""Loads the data sets of the strategies' benchmarks: cached features of real images.

Digits (scikit-learn, enlarged), textiles (conformal-clip-data) on frozen and on fine-tuned
features, solar cells (elpv-dataset: photographs of electroluminescence, two kinds of cell, whole or
defective), and scenes: crops of ten photographs (of scikit-learn and scikit-image), each pasted on
a crop of another one, turned, dimmed and noisy. All through EfficientNet-Lite0.
"""

import importlib.resources
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.heads import digits, textiles
from benchmarks.support.report import OUT
from model.embedding import embed_stream, open_embedder

BACKBONE = "bundled:lite0"
TUNED_ON = 300  # labels of the fine-tuned backbone; they are in neither pool nor test
SCENES = 2_000
SIDE = 128  # pixels of a scene
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

Images = list[Image.Image]
Labelled = tuple[Images, NDArray[np.intp]]


@dataclass(frozen=True)
class Dataset:
    """Features [N, D] of images and their classes [N]."""

    name: str
    x: NDArray[np.float16]
    y: NDArray[np.intp]


def load(name: str) -> Dataset:
    """The set of that name, from benchmarks/out where it was computed before."""
    kept = OUT / f"selection-{name}.npz"
    if not kept.exists():
        OUT.mkdir(exist_ok=True)
        x, y = _tuned_textiles() if name == "textiles-tuned" else _frozen(*SOURCES[name]())
        np.savez(kept, x=x, y=y)
    with np.load(kept) as arrays:
        return Dataset(name, arrays["x"], arrays["y"])


def solar_cells() -> Labelled:
    """Single and multiple crystals, whole or (more likely than not) defective: four classes."""
    import elpv_dataset.utils

    pictures, probability, crystals = elpv_dataset.utils.load_dataset()
    y = 2 * (crystals == "poly") + (probability > 0.5)
    return [Image.fromarray(p).convert("RGB") for p in pictures], y.astype(np.intp)


def scenes() -> Labelled:
    """SCENES pictures of ten classes; the class is the photograph that the middle piece is of."""
    photographs = []
    for package, name in PHOTOGRAPHS:
        with importlib.resources.files(package).joinpath(name).open("rb") as file:
            photographs.append(Image.open(file).convert("RGB"))
    rng = np.random.default_rng(0)
    y = rng.integers(len(photographs), size=SCENES)
    return [_scene(photographs, int(label), rng) for label in y], y


def _scene(photographs: Images, label: int, rng: np.random.Generator) -> Image.Image:
    others = [p for i, p in enumerate(photographs) if i != label]
    scene = _crop(others[rng.integers(len(others))], rng).resize((SIDE, SIDE))
    side = int(SIDE * rng.uniform(0.35, 0.7))
    piece = _crop(photographs[label], rng).rotate(rng.uniform(-25, 25)).resize((side, side))
    scene.paste(piece, tuple(int(v) for v in rng.integers(0, SIDE - side, size=2)))
    pixels = np.asarray(scene, np.float64) * rng.uniform(0.6, 1.2)
    pixels += rng.normal(scale=rng.uniform(0, 25), size=pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _crop(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(min(photograph.size) * rng.uniform(0.2, 0.6))
    left, top = (int(rng.integers(0, length - side)) for length in photograph.size)
    return photograph.crop((left, top, left + side, top + side))


def _frozen(
    images: Images, y: NDArray[np.intp], backbone: str = BACKBONE, cache: Path | None = None
) -> tuple[NDArray[np.float16], NDArray[np.intp]]:
    with tempfile.TemporaryDirectory() as scratch:
        embedder = open_embedder(backbone, device="cpu", cache_dir=cache or Path(scratch))
        x = np.empty((len(images), embedder.dim), np.float16)
        for row, vector in embed_stream(embedder, enumerate(images), lambda i: i, workers=2):
            if isinstance(vector, Exception):
                raise vector
            x[row] = vector
        embedder.close()
    return x, y


def _tuned_textiles() -> tuple[NDArray[np.float16], NDArray[np.intp]]:
    from model.backbones.families.tuned import install
    from model.finetuning import Options, Target, finetune

    images, y = textiles()
    order = np.random.default_rng(0).permutation(len(y))
    seen, rest = order[:TUNED_ON], order[TUNED_ON:]
    with tempfile.TemporaryDirectory() as scratch:
        tuned = finetune(
            BACKBONE,
            seen.tolist(),
            lambda row: images[row],
            [Target("defect", "single", ("a", "b", "c"), y[seen])],
            np.arange(TUNED_ON) >= 0.8 * TUNED_ON,
            options=Options(seed=0, epochs=10),
            folder=Path(scratch) / "job",
            report=lambda progress: None,
            stop=lambda: False,
        )
        cache = Path(scratch) / "cache"
        name = install(tuned.path, cache)
        return _frozen([images[row] for row in rest], y[rest], name, cache)


SOURCES: dict[str, Callable[[], Labelled]] = {
    "digits": digits,
    "textiles": textiles,
    "solar-cells": solar_cells,
    "scenes": scenes,
}
NAMES = (*SOURCES, "textiles-tuned")
