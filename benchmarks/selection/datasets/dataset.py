"""A data set of the strategies' benchmarks, its split, and what makes variants of it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.active_learning.simulation import SPLIT, Replay

Classes = NDArray[np.intp]
Images = list[Image.Image]


@dataclass(frozen=True)
class Labelled:
    """Images and their classes [N]; `groups` [N] where some images belong together."""

    images: Images
    y: Classes
    groups: Classes | None = None


@dataclass(frozen=True)
class Dataset:
    """Features [N, D] of images and their classes [N].

    `answers` [N] are the labels that an annotator gives: the classes, but where some are wrong.
    Images of one of the `groups` [N] are all in the pool or all in the test set.
    """

    name: str
    x: NDArray[np.float16]
    y: Classes
    answers: Classes
    groups: Classes

    @classmethod
    def of(
        cls, name: str, x: NDArray[np.float16], y: Classes, groups: Classes | None = None
    ) -> "Dataset":
        """A set with right answers; without `groups`, each image is one of its own."""
        return cls(name, x, y, y, np.arange(len(y)) if groups is None else groups)


def split(data: Dataset, *, seed: int, share: float = SPLIT) -> Replay:
    """The pool with its answers, and a test set with its classes: a part of the groups, at random.

    Where each image is a group of its own, the same as `model.active_learning.simulation.split`.
    """
    names, group = np.unique(data.groups, return_inverse=True)
    order = np.random.default_rng([seed, 3]).permutation(len(names))
    place = np.argsort(order)[group]
    rows = np.argsort(place, kind="stable")
    tested, rest = np.split(rows, [int((place < round(share * len(names))).sum())])
    return Replay(data.x[rest], data.answers[rest], data.x[tested], data.y[tested])


def with_wrong_answers(data: Dataset, name: str, share: float) -> Dataset:
    """The set with that share of the answers replaced by another class, any other alike."""
    rng = np.random.default_rng(0)
    classes = int(data.y.max()) + 1
    wrong = rng.permutation(len(data.y))[: round(share * len(data.y))]
    answers = data.y.copy()
    answers[wrong] = (answers[wrong] + rng.integers(1, classes, size=len(wrong))) % classes
    return replace(data, name=name, answers=answers)


def tail_sizes(classes: int, largest: int, ratio: float) -> list[int]:
    """Sizes of classes that fall geometrically, from `largest` to a `ratio`th of it."""
    return [max(round(size), 1) for size in np.geomspace(largest, largest / ratio, classes)]
