"""The registry of kinds of head, and the data that they are fitted on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Floats, Ints
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
        """The arrays that `head_from_arrays` reads."""
        ...


@dataclass(frozen=True, eq=False)
class FitData:
    """Embeddings and labels that a head is fitted on.

    `y` is [N] indices into `classes`, or [N, C] of 0, 1 and NaN where an image may have several
    classes, or [N] numbers.
    """

    prepared: Prepared  # embeddings [N, D]
    y: NDArray[Any]
    groups: NDArray[np.generic]  # [N], equal for near-duplicates: never on both sides of a split
    weight: Float32s  # [N], how much each row counts; 1 is one label
    classes: tuple[str, ...]
    seed: int
    warm_start: Head | None = None  # an earlier head of the project, of any kind and classes
    settings_of: Head | None = None  # its settings are taken instead of being chosen again

    @classmethod
    def of(
        cls,
        x: Floats,
        y: NDArray[Any],
        classes: tuple[str, ...] = (),
        *,
        seed: int,
        groups: NDArray[np.generic] | None = None,
        weight: Floats | None = None,
        warm_start: Head | None = None,
        settings_of: Head | None = None,
    ) -> Self:
        """The data of embeddings x [N, D] of any float type; without `weight` each row counts 1.

        Without `groups` no two rows are near-duplicates.
        """
        return cls(
            Prepared(np.asarray(x, np.float32)),
            y,
            np.arange(len(y)) if groups is None else groups,
            np.ones(len(y), np.float32) if weight is None else np.asarray(weight, np.float32),
            classes,
            seed,
            warm_start,
            settings_of,
        )

    @property
    def x(self) -> Float32s:
        """The embeddings [N, D]."""
        return self.prepared.x

    def part(self, rows: Bools | Ints) -> Self:
        """Some of the rows, by a mask or by indices."""
        return replace(
            self,
            prepared=Prepared(self.x[rows]),
            y=self.y[rows],
            groups=self.groups[rows],
            weight=self.weight[rows],
        )


class HeadKind(Protocol):
    """Fits and loads heads of one kind."""

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
