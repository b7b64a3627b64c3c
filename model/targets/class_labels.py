"""The base class of kinds of target whose values are made of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from model.arrays import Bools, Indices
from model.targets.base import BaseKind
from model.targets.schema import ClassSchema, Value

C = TypeVar("C", bound=ClassSchema)

LEAST_LIKELY = 0.01  # probability: nothing true counts as less likely, so that no row outweighs all


class ClassKind(BaseKind[C, Value]):
    """A kind whose values name classes."""

    def agrees(
        self,
        schema: C,
        first: Sequence[Value],
        second: Sequence[Value],
        *,
        tolerance: float = 0.0,
        unasked: Sequence[frozenset[str]] | None = None,
    ) -> Bools:
        """Which values [M] have the same classes, but for those that were not asked."""
        if unasked is None:
            return super().agrees(schema, first, second)

        def same(one: Value, other: Value, left_out: frozenset[str]) -> bool:
            if one == other or not left_out:
                return one == other
            names = (set(schema.names_in(value, above=True)) for value in (one, other))
            return next(names) - left_out == next(names) - left_out

        rows = zip(first, second, unasked, strict=True)
        return np.array([same(*row) for row in rows], np.bool_)

    def classes_in(self, schema: C, value: Value) -> tuple[str, ...]:
        """The names of its classes."""
        return tuple(schema.names_in(value))

    def names_by_label(
        self, schema: C, values: Sequence[Value | None], *, above: bool
    ) -> tuple[Indices, list[tuple[str, ...]], tuple[str, ...]]:
        """The rows [M] of labels that count, the names in each, and all names in order.

        The schema's order; names that it doesn't list come last, sorted.
        """
        rows = np.flatnonzero([value is not None for value in values])
        said = [schema.names_in(values[row], above=above) for row in rows]
        place = {name: index for index, name in enumerate(schema.listed)}
        found = {name for names in said for name in names}
        order = sorted(found, key=lambda name: (place.get(name, len(place)), name))
        return rows, said, tuple(order)
