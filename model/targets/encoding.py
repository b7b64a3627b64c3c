"""Between labels and the arrays that heads are fitted on.

A head knows classes by name, one string each; a path's name is its parts joined by " / ".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Indices
from model.targets.schema import (
    ClassName,
    MultiLabel,
    Number,
    Path,
    Paths,
    SingleLabel,
    TargetSchema,
    Value,
    most_specific,
    parents,
    with_ancestors,
)

# How a target is learned: one of the classes (softmax), any of them (sigmoids), or a number.
Form: TypeAlias = Literal["single", "multi", "number"]

JOIN = " / "


def path_name(path: Path) -> str:
    """One string for a path; a slash within a part is doubled, so that `path_of` inverts it."""
    return JOIN.join(part.replace("/", "//") for part in path)


def path_of(name: str) -> Path:
    """The path that `path_name` gave this name."""
    return tuple(part.replace("//", "/") for part in name.split(JOIN))


@dataclass(frozen=True)
class Encoded:
    """The labels of one control, as arrays.

    `rows` [M] are the places of the labels that count. `y` is [M] indices into `names` for single,
    [M, C] of 0, 1 and NaN (nobody said) for multi, [M] floats for number.
    """

    form: Form
    names: tuple[str, ...]  # of the classes that any label has, in the target's order
    rows: Indices
    y: NDArray[Any]

    @property
    def reason(self) -> str | None:
        """Why nothing can be learned from these labels; None when something can."""
        if not len(self.rows):
            return "no label yet"
        if self.form == "number":
            if len(np.unique(self.y)) < 2:
                return f"all numbers so far are {float(self.y[0]):g}; a second one is needed"
        elif self.form == "single":
            if len(self.names) < 2:
                return f"only {self.names[0]!r} is labelled so far; a second class is needed"
        elif not self.names:
            return "no image has any of the classes so far"
        elif not ((self.y == 1).any(axis=0) & (self.y == 0).any(axis=0)).any():
            return "all images are labelled alike so far; one that differs is needed"
        return None


def encode(target: TargetSchema, values: Sequence[Value | None]) -> Encoded:
    """Labels [N] of one target, None where there is none, as arrays.

    Paths are learned as one of many as long as each label is a single path, else each for itself
    with all that lies above it.
    """
    rows = np.flatnonzero([value is not None for value in values])
    known = [value for value in values if value is not None]
    if isinstance(target, Number):
        return Encoded("number", (), rows, np.array(known, np.float64))
    form = form_of(target, known)
    said = [names_in(value, form) for value in known]
    names = _order(target, {name for names in said for name in names})
    code = {name: index for index, name in enumerate(names)}
    if form == "single":
        return Encoded(form, names, rows, np.array([code[one[0]] for one in said], np.int64))
    y = np.zeros((len(known), len(names)), np.float32)
    for row, chosen in enumerate(said):
        y[row, [code[name] for name in chosen]] = 1
    return Encoded(form, names, rows, y)


def unknown_names(labels: Encoded) -> list[frozenset[str]]:
    """[M] the classes of which a label says neither that they are there nor that they are not."""
    if labels.form != "multi":
        return [frozenset()] * len(labels.rows)
    found = [frozenset[str]()] * len(labels.rows)
    unsaid = np.isnan(labels.y)
    for row in np.flatnonzero(unsaid.any(axis=1)):
        found[row] = frozenset(labels.names[index] for index in np.flatnonzero(unsaid[row]))
    return found


def form_of(target: TargetSchema, values: Collection[Value]) -> Form:
    """How a target with these labels is learned."""
    if isinstance(target, Number):
        return "number"
    if isinstance(target, MultiLabel):
        return "multi"
    if isinstance(target, SingleLabel):
        return "single"
    one_each = all(isinstance(value, frozenset) and len(value) == 1 for value in values)
    return "single" if one_each else "multi"


def fits(form: Form, target: TargetSchema) -> bool:
    """Whether what was learned in this way can answer for a target, which may have changed."""
    if isinstance(target, Number) or form == "number":
        return isinstance(target, Number) and form == "number"
    return form == "single" or not isinstance(target, SingleLabel)


def names_in(value: Value, form: Form) -> tuple[str, ...]:
    """The names of the classes that a label has, for `multi` also of what lies above its paths."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, frozenset):
        return ()
    paths = frozenset(path for path in value if isinstance(path, tuple))
    if form == "multi":
        paths = with_ancestors(paths)
    flat = [name for name in value if isinstance(name, str)]
    return tuple(sorted(flat)) + tuple(path_name(path) for path in sorted(paths))


def value_of(names: Collection[str], target: TargetSchema) -> Value:
    """The label that has these classes. For SingleLabel there must be one."""
    if isinstance(target, SingleLabel):
        (name,) = names
        return name
    if isinstance(target, Paths):
        return most_specific(frozenset(path_of(name) for name in names))
    return frozenset(names)


def choosable(
    target: TargetSchema, names: Sequence[str], offered: frozenset[ClassName] | None = None
) -> Bools:
    """[C] which of the classes an annotator could choose today.

    `offered` are those that come with a task's data, where the target is open.
    """
    if isinstance(target, Number):
        return np.ones(len(names), np.bool_)
    if isinstance(target, Paths):
        fixed: frozenset[ClassName] = frozenset(target.paths)
        classes: list[ClassName] = [path_of(name) for name in names]
        above = parents([*target.paths, *(path_of(name) for name in names)])
        if offered is not None:
            above |= parents([path for path in offered if isinstance(path, tuple)])
        inner: frozenset[ClassName] = frozenset(above) if target.leaves_only else frozenset()
    else:
        fixed, classes, inner = frozenset(target.classes), list(names), frozenset()
    anything = target.open and offered is None
    known = fixed | (offered or frozenset()) if target.open else fixed
    return np.array([(anything or c in known) and c not in inner for c in classes], np.bool_)


def plain_value(value: Value) -> str | float | list[str]:
    """A label as JSON, the same for equal labels."""
    if isinstance(value, frozenset):
        return sorted(path_name(one) if isinstance(one, tuple) else one for one in value)
    return value


def plain_target(target: TargetSchema) -> dict[str, Any]:
    """A target as JSON."""
    return {"target": type(target).__name__} | {
        name: [list(path) for path in value] if name == "paths" else value
        for name, value in vars(target).items()
    }


def _order(target: SingleLabel | MultiLabel | Paths, names: set[str]) -> tuple[str, ...]:
    """The names in the target's order; those that it doesn't list come last, sorted."""
    if isinstance(target, Paths):
        listed = [path_name(path) for path in target.paths]
    else:
        listed = list(target.classes)
    place = {name: index for index, name in enumerate(listed)}
    return tuple(sorted(names, key=lambda name: (place.get(name, len(place)), name)))
