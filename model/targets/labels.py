"""Encoded labels of one control, soft labels, and opinions on labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.annotators.vote_matrix import Annotator
from model.arrays import Float32s, Floats, Indices, Int64s, Ints
from model.targets.schema import Value


@dataclass(frozen=True, eq=False)
class EncodedLabels:
    """The labels of one control as arrays.

    `kind` names the kind (in `TARGETS`) that learns them: "single", "multi", "number". `rows` [M]
    are the places of the labels that count. `y` is [M] indices into `names` for single, [M, C] of
    0, 1 and NaN (nobody said) for multi, [M] floats for number.
    """

    kind: str
    names: tuple[str, ...]  # of the classes that any label has, in the schema's order
    rows: Indices
    y: NDArray[Any]

    def part(self, rows: Ints) -> EncodedLabels:
        """Some of the labels, by their index among the M."""
        return replace(self, rows=self.rows[rows], y=self.y[rows])

    def joined(self, other: EncodedLabels) -> EncodedLabels:
        """These labels and then others of the same names."""
        rows = np.concatenate([self.rows, other.rows])
        return replace(self, rows=rows, y=np.concatenate([self.y, other.y]))


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """The labels of N images that several annotators have labelled.

    `decided` is what an evaluation takes for the truth: no model has a say in it. `fitted` is what
    a head is fitted on: M rows, of the images `rows` [M], each of which counts `weight` [M]; None
    where each counts 1.
    """

    decided: EncodedLabels
    fitted: EncodedLabels
    rows: Int64s
    weight: Float32s | None
    quality: Mapping[Annotator, float]  # of the annotators

    @classmethod
    def unchanged(cls, labels: EncodedLabels) -> SoftLabels:
        """The labels as they are."""
        return cls(labels, labels, np.arange(len(labels.y), dtype=np.int64), None, {})

    @property
    def first(self) -> Int64s:
        """[N] the first of each image's rows."""
        return np.unique(self.rows, return_index=True)[1].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Opinions:
    """The labels that a model expects for N images, and its consensus with the annotators."""

    expected: Sequence[Value]  # [N] by the model
    quality: Floats  # [N] of the label as it is, by the model; NaN where it can't tell
    meant: Sequence[Value]  # [N] by annotators and model together
    sure: Floats  # [N] probability that this is right
    annotators: Mapping[Annotator, float]  # their quality
