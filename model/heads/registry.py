"""Kinds of heads, one file each: what fits one, and what makes one of stored arrays again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Floats, Indices
from model.heads.features import Prepared
from model.registry import Registry


class Head(Protocol):
    """From embeddings to logits. It needs numpy alone."""

    @property
    def kind(self) -> str:
        """The name that its kind is registered under."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of logits."""
        ...

    def logits(self, x: Floats) -> Float32s:
        """Logits [N, C] of embeddings [N, D]; −inf for a class that had no label."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `head_from_arrays` makes the head of again."""
        ...


@dataclass(frozen=True)
class FitData:
    """What a head is fitted on: at least one row, all of them finite."""

    prepared: Prepared  # embeddings [N, D]
    y: Indices  # [N] indices into classes
    groups: NDArray[np.generic]  # [N], equal for near-duplicates: never on both sides of a split
    weight: Float32s  # [N] > 0, how much each row counts; 1 is one label
    classes: tuple[str, ...]
    seed: int
    warm_start: Head | None  # an earlier head of the project, of any kind and classes
    settings_of: Head | None  # one whose settings are taken instead of being chosen again


class HeadKind(Protocol):
    """How heads of one kind are made."""

    @property
    def complexity(self) -> int:
        """Where several kinds do equally well the least complex is taken."""
        ...

    @property
    def compared_up_to(self) -> int | None:
        """Labels × classes up to which it is quick enough to be compared; None: always."""
        ...

    def fit(self, data: FitData) -> Head:
        """A head; the same data gives the same arrays, bit for bit."""
        ...

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> Head:
        """The head that gave these arrays. ValueError when they can't be one's."""
        ...


HEADS: Registry[Callable[[], HeadKind]] = Registry("head", "model.heads")
