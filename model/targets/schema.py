"""Target schemas: the types of label values.

A label config is translated into these. A schema names its kind (`model/targets/kind.py`), which
says what its values mean.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from model.arrays import Bools

# From the root of a taxonomy down: ("animal", "cat").
Path: TypeAlias = tuple[str, ...]

# A label. Its schema's kind gives it a meaning: SingleLabel str; MultiLabel frozenset[str], empty
# when none applies; Paths frozenset[Path], the most specific ones only; Number float, finite.
Value: TypeAlias = Hashable

# What a head has a name for: a class or a path.
ClassName: TypeAlias = str | Path

JOIN = " / "


class TargetSchema(Protocol):
    """The type of a control's values. Schemas are frozen dataclasses of JSON's types."""

    @property
    def kind(self) -> str:
        """The name in `TARGETS` of the kind of its values."""


class ClassSchema(TargetSchema, Protocol):
    """A schema whose values are made of classes. Heads know each class by one string."""

    @property
    def listed(self) -> tuple[str, ...]:
        """The names of the config's own classes, in order."""

    @property
    def tree(self) -> bool:
        """Whether classes lie below one another, so that their names are those of paths."""

    @property
    def leaves_only(self) -> bool:
        """Whether only classes that no others lie below may be chosen."""

    def names_in(self, value: Value, *, above: bool = False) -> tuple[str, ...]:
        """The names of a value's classes; with `above` also of those that its paths lie below."""

    def value_of(self, names: Collection[str]) -> Value:
        """The value that has the classes of these names. For SingleLabel there must be one."""

    def choosable(self, names: Sequence[str], offered: frozenset[ClassName] | None = None) -> Bools:
        """Which of the classes [C] an annotator could choose today.

        `offered` are those that come with a task's data, where the schema is open.
        """


@dataclass(frozen=True)
class _FlatClasses:
    """Classes of which none lies below another."""

    classes: tuple[str, ...]
    open: bool = False  # more classes come with each task's data; they are known once labelled

    tree: ClassVar[bool] = False
    leaves_only: ClassVar[bool] = False

    @property
    def listed(self) -> tuple[str, ...]:
        """The names of the config's own classes, in order."""
        return self.classes

    def choosable(self, names: Sequence[str], offered: frozenset[ClassName] | None = None) -> Bools:
        """Which of the classes [C] an annotator could choose today."""
        if self.open and offered is None:
            return np.ones(len(names), np.bool_)
        known = {*self.classes, *(offered or ())} if self.open else {*self.classes}
        return np.array([name in known for name in names], np.bool_)


@dataclass(frozen=True)
class SingleLabel(_FlatClasses):
    """Exactly one of `classes` for an image. The order of `classes` is the order of logits."""

    kind: ClassVar[str] = "single"

    def names_in(self, value: Value, *, above: bool = False) -> tuple[str, ...]:
        """The name of the value's class."""
        return (value,) if isinstance(value, str) else ()

    def value_of(self, names: Collection[str]) -> str:
        """The class of the only name."""
        (name,) = names
        return name


@dataclass(frozen=True)
class MultiLabel(_FlatClasses):
    """Any of `classes` for an image, also none, each for itself."""

    kind: ClassVar[str] = "multi"

    def names_in(self, value: Value, *, above: bool = False) -> tuple[str, ...]:
        """The names of the value's classes, sorted."""
        return tuple(sorted(value)) if isinstance(value, frozenset) else ()

    def value_of(self, names: Collection[str]) -> frozenset[str]:
        """The set of the classes of these names."""
        return frozenset(names)


@dataclass(frozen=True)
class Paths:
    """Nodes of a tree of classes. `paths` are all nodes, parents before their children."""

    paths: tuple[Path, ...]
    multiple: bool  # whether an image may have several
    leaves_only: bool = False  # whether only nodes without children may be chosen
    open: bool = False  # as of SingleLabel

    kind: ClassVar[str] = "paths"
    tree: ClassVar[bool] = True

    @property
    def listed(self) -> tuple[str, ...]:
        """The names of the config's own paths, in order."""
        return tuple(path_name(path) for path in self.paths)

    def names_in(self, value: Value, *, above: bool = False) -> tuple[str, ...]:
        """The names of the value's paths, sorted; with `above` also of what they lie below."""
        if not isinstance(value, frozenset):
            return ()
        paths = with_ancestors(value) if above else value
        return tuple(path_name(path) for path in sorted(paths))

    def value_of(self, names: Collection[str]) -> frozenset[Path]:
        """The most specific of the paths of these names."""
        return most_specific(frozenset(path_of(name) for name in names))

    def choosable(self, names: Sequence[str], offered: frozenset[ClassName] | None = None) -> Bools:
        """Which of the paths [C] an annotator could choose today."""
        paths = [path_of(name) for name in names]
        inner: frozenset[Path] = frozenset()
        if self.leaves_only:
            more = [path for path in offered or () if isinstance(path, tuple)]
            inner = parents([*self.paths, *paths, *more])
        anything = self.open and offered is None
        known = {*self.paths, *(offered or ())} if self.open else {*self.paths}
        return np.array([(anything or p in known) and p not in inner for p in paths], np.bool_)


@dataclass(frozen=True)
class Number:
    """A number within `low` and `high` (None: unbounded), in whole `step`s from `low` if given."""

    low: float | None = None
    high: float | None = None
    step: float | None = None

    kind: ClassVar[str] = "number"


def schema_json(schema: TargetSchema) -> dict[str, Any]:
    """A schema as JSON."""
    return {"target": type(schema).__name__} | {
        name: list(map(list, value)) if _is_nested(value) else value
        for name, value in vars(schema).items()
    }


def _is_nested(value: object) -> bool:
    return isinstance(value, tuple) and any(isinstance(each, tuple) for each in value)


def path_name(path: Path) -> str:
    """One string for a path; a slash within a part is doubled, so that `path_of` inverts it."""
    return JOIN.join(part.replace("/", "//") for part in path)


def path_of(name: str) -> Path:
    """The path that `path_name` gave this name."""
    return tuple(part.replace("//", "/") for part in name.split(JOIN))


def with_ancestors(paths: Iterable[Path]) -> frozenset[Path]:
    """The paths with all that lie above them."""
    return frozenset(path[:end] for path in paths for end in range(1, len(path) + 1))


def most_specific(paths: Collection[Path]) -> frozenset[Path]:
    """The paths of which none lies above another."""
    return frozenset(paths) - parents(paths)


def parents(paths: Iterable[Path]) -> frozenset[Path]:
    """The paths that others lie below."""
    return frozenset(path[:end] for path in paths for end in range(1, len(path)))
