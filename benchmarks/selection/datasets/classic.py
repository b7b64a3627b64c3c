"""The first sets: digits, textiles, solar cells, scenes.

Digits (scikit-learn, BSD-3-Clause, enlarged), textiles (conformal-clip-data) on frozen and on
fine-tuned features, solar cells (elpv-dataset: photographs of electroluminescence, two
kinds of cell, whole or defective), and scenes: crops of ten photographs, each pasted on a crop of
another one, turned, dimmed and noisy.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import heads
from benchmarks.selection.datasets.composing import (
    PHOTOGRAPHS,
    SIDE,
    background,
    camera,
    crop,
    photographs,
)
from benchmarks.selection.datasets.dataset import Classes, Dataset, Images, Labelled, tail_sizes
from benchmarks.selection.datasets.embedding import BACKBONE, features

TUNED_ON = 300  # labels of the fine-tuned backbone; they are in neither pool nor test
SCENES = 2_000
MOST, TAIL = 600, 50  # scenes of the commonest class; times as many as of the rarest


def digits() -> Labelled:
    """Ten classes of handwritten digits."""
    return Labelled(*heads.digits())


def textiles() -> Labelled:
    """Three kinds of textile."""
    return Labelled(*heads.textiles())


def solar_cells() -> Labelled:
    """Single and multiple crystals, whole or (more likely than not) defective: four classes."""
    import elpv_dataset.utils

    pictures, probability, crystals = elpv_dataset.utils.load_dataset()
    y = 2 * (crystals == "poly") + (probability > 0.5)
    images = [Image.fromarray(p).convert("RGB") for p in pictures]
    return Labelled(images, y.astype(np.intp))


def scenes() -> Labelled:
    """SCENES pictures of ten classes; the class is the photograph that the middle piece is of."""
    rng = np.random.default_rng(0)
    return _scenes(rng.integers(len(PHOTOGRAPHS), size=SCENES), rng)


def long_tailed_scenes() -> Labelled:
    """Other such scenes: of the first photograph TAIL times as many as of the last."""
    sizes = tail_sizes(len(PHOTOGRAPHS), MOST, TAIL)
    return _scenes(np.repeat(np.arange(len(sizes)), sizes), np.random.default_rng(1))


def _scenes(y: Classes, rng: np.random.Generator) -> Labelled:
    pictures = photographs()
    return Labelled([_scene(pictures, int(label), rng) for label in y], y)


def _scene(pictures: Images, label: int, rng: np.random.Generator) -> Image.Image:
    scene = background([p for i, p in enumerate(pictures) if i != label], rng)
    side = int(SIDE * rng.uniform(0.35, 0.7))
    piece = crop(pictures[label], rng).rotate(rng.uniform(-25, 25)).resize((side, side))
    left, top = (int(v) for v in rng.integers(0, SIDE - side, size=2))
    scene.paste(piece, (left, top))
    return camera(scene, rng)


def tuned_textiles(name: str) -> Dataset:
    """The textiles on a backbone that was fine-tuned on TUNED_ON others of them."""
    from model.backbones.families.tuned import install
    from model.finetuning import Options, Target, finetune

    images, y = heads.textiles()
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
        backbone = install(tuned.path, cache)
        x = features([images[row] for row in rest], backbone, cache)
        return Dataset.of(name, x, y[rest])
