"""What a head can learn, in plain types: the language that the label config is translated into.

Each target says what a label's value looks like. Values are hashable and compare by meaning: two
annotations that say the same have equal values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

# From the root of a taxonomy down: ("animal", "cat").
Path: TypeAlias = tuple[str, ...]

# A label, by its target: SingleLabel str; MultiLabel frozenset[str], empty when none applies;
# Paths frozenset[Path], the most specific ones only; Number float, finite.
Value: TypeAlias = str | frozenset[str] | frozenset[Path] | float

# What a head has a name for: a class or a path.
ClassName: TypeAlias = str | Path


@dataclass(frozen=True)
class SingleLabel:
    """Exactly one of `classes` for an image. The order of `classes` is the order of logits."""

    classes: tuple[str, ...]
    open: bool = False  # more classes come with each task's data; they are known once labelled


@dataclass(frozen=True)
class MultiLabel:
    """Any of `classes` for an image, also none, each for itself."""

    classes: tuple[str, ...]
    open: bool = False  # as of SingleLabel


@dataclass(frozen=True)
class Paths:
    """Nodes of a tree of classes. `paths` are all nodes, parents before their children."""

    paths: tuple[Path, ...]
    multiple: bool  # whether an image may have several
    leaves_only: bool = False  # whether only nodes without children may be chosen
    open: bool = False  # as of SingleLabel


@dataclass(frozen=True)
class Number:
    """A number within `low` and `high` (None: unbounded), in whole `step`s from `low` if given."""

    low: float | None = None
    high: float | None = None
    step: float | None = None


TargetSchema: TypeAlias = SingleLabel | MultiLabel | Paths | Number


def with_ancestors(paths: Iterable[Path]) -> frozenset[Path]:
    """The paths with all that lie above them."""
    return frozenset(path[:end] for path in paths for end in range(1, len(path) + 1))


def most_specific(paths: Collection[Path]) -> frozenset[Path]:
    """The paths of which none lies above another."""
    return frozenset(paths) - parents(paths)


def parents(paths: Iterable[Path]) -> frozenset[Path]:
    """The paths that others lie below."""
    return frozenset(path[:end] for path in paths for end in range(1, len(path)))
