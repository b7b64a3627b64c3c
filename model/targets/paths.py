"""Nodes of a tree of classes, learned as one class of many or as several classes."""

from __future__ import annotations

from collections.abc import Sequence

from model.targets.base import BaseKind
from model.targets.kind import TARGETS, get_kind
from model.targets.labels import EncodedLabels
from model.targets.multi import MultiKind, majority
from model.targets.schema import Path, Paths, Value, most_specific, path_name, with_ancestors


@TARGETS.register("paths")
class PathsKind(MultiKind[Paths]):
    """Paths from the root of a tree."""

    def encode(self, schema: Paths, values: Sequence[Value | None]) -> EncodedLabels:
        """As one class of many where each label is a single path.

        Else as several classes, each with all that lies above it.
        """
        known = [value for value in values if value is not None]
        if all(isinstance(value, frozenset) and len(value) == 1 for value in known):
            return get_kind("single").encode(schema, values)
        return super().encode(schema, values)

    def resolve(self, schema: Paths, values: Sequence[Value]) -> Value:
        """By class where an image may have several; else the path that most gave."""
        if schema.multiple:
            return super().resolve(schema, values)
        return BaseKind.resolve(self, schema, values)

    def majority(self, schema: Paths, sets: Sequence[frozenset[Path]]) -> frozenset[Path]:
        """The paths that most have, those above theirs included if they may be chosen."""
        if schema.leaves_only:
            return majority(sets)
        return most_specific(majority([with_ancestors(each) for each in sets]))

    def classes_in(self, schema: Paths, value: Value) -> tuple[str, ...]:
        """The name of a single path; of several, also of what they lie below."""
        single = isinstance(value, frozenset) and len(value) == 1
        return schema.names_in(value, above=not single)

    def plain(self, value: Value) -> list[str]:
        """The sorted names."""
        return sorted(map(path_name, value)) if isinstance(value, frozenset) else []

    def chance(self, schema: Paths) -> float:
        """One of the paths, or of there and not there."""
        if schema.paths and not schema.multiple:
            return 1 / len(schema.paths)
        return super().chance(schema)
