"""Fits heads of every kind on embeddings, and reads them from stored arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Floats, Ints
from model.heads import labels, number
from model.heads.features import Prepared
from model.heads.linear import LinearHead
from model.heads.number import NumberHead
from model.heads.registry import HEADS, FitData, Head

# Below this many labels a class, on average over the classes that have any, prototypes.
LOGISTIC_LABELS = 5

# What `fit_labels` and `fit_number` give: no kinds to choose among for single labels.
_OTHER_TARGETS: dict[str, Callable[..., LinearHead]] = {
    labels.KIND: LinearHead.from_arrays,
    number.KIND: NumberHead.from_arrays,
}


def choose_kind(y: Ints) -> str:
    """The kind of head that suits labels y [N] by their number alone."""
    seen = len(np.unique(y))
    return "prototype" if seen < 2 or len(y) < LOGISTIC_LABELS * seen else "logistic"


def fit(
    x: Floats,
    y: Ints,
    classes: tuple[str, ...],
    *,
    seed: int,
    warm_start: Head | None = None,
    groups: NDArray[np.generic] | None = None,
    weight: Floats | None = None,
    kind: str | None = None,
    settings_of: Head | None = None,
) -> Head:
    """A head fitted on embeddings x [N, D] of labels y [N], indices into `classes`.

    Prototypes below LOGISTIC_LABELS labels a class, else logistic regression, unless `kind` says
    which. `groups` [N] are equal for near-duplicates, which then are never on both sides of a
    split. `weight` [N] is how much each row counts, 1 without it; an image whose label is in doubt
    may have a row for each class. `warm_start` makes it faster: the optimum is the same, and met
    within a small tolerance. `settings_of` is a head whose strength is taken instead of choosing
    one. Rows that hold NaN or infinity, or weigh nothing, are left out. The same arguments give the
    same arrays, bit for bit.
    ValueError when no row is left; UnknownNameError for an unknown kind.
    """
    data = _fit_data(x, y, classes, seed, warm_start, groups, weight)
    kind = kind or choose_kind(data.y)
    settings = {} if settings_of is None else {kind: settings_of}
    return _fit_each([kind], data, settings)[kind]


def fit_each(
    kinds: Sequence[str],
    x: Floats,
    y: Ints,
    classes: tuple[str, ...],
    *,
    seed: int,
    groups: NDArray[np.generic] | None = None,
    settings_of: Mapping[str, Head],
) -> dict[str, Head]:
    """A head of each of `kinds`, as `fit` gives it, for less than all of them one by one.

    `settings_of` are heads by kind.
    """
    return _fit_each(kinds, _fit_data(x, y, classes, seed, None, groups, None), settings_of)


def _fit_data(
    x: Floats,
    y: Ints,
    classes: tuple[str, ...],
    seed: int,
    warm_start: Head | None,
    groups: NDArray[np.generic] | None,
    weight: Floats | None,
) -> FitData:
    x = np.asarray(x, np.float32)
    groups = np.arange(len(y)) if groups is None else groups
    counted = np.ones(len(y), np.float32) if weight is None else np.asarray(weight, np.float32)
    usable = np.isfinite(x).all(axis=1) & (counted > 0)
    _require_rows(usable)
    return FitData(
        Prepared(x[usable]),
        np.asarray(y[usable], np.intp),
        groups[usable],
        counted[usable],
        classes,
        seed,
        warm_start,
        None,
    )


def _fit_each(
    kinds: Sequence[str], data: FitData, settings_of: Mapping[str, Head]
) -> dict[str, Head]:
    # One thread: the sums then don't depend on how many cores there are, and on a busy machine
    # several threads that wait for each other are slower than one.
    with _one_thread():
        return {
            kind: HEADS.get(kind)().fit(replace(data, settings_of=settings_of.get(kind)))
            for kind in kinds
        }


def fit_labels(
    x: Floats,
    y: Floats,
    classes: tuple[str, ...],
    *,
    seed: int,
    groups: NDArray[np.generic] | None = None,
    warm_start: Head | None = None,
    settings_of: Head | None = None,
) -> Head:
    """A head for any number of classes at once: sigmoid(logits) are its probabilities.

    y [N, C] is 1 where the image has the class, 0 where it has not, NaN where nobody said. A class
    that no row has gets −inf, one that every row has the same finite logit everywhere. The rest is
    as for `fit`.
    """
    x = np.asarray(x, np.float32)
    y = np.asarray(y, np.float32)
    groups = np.arange(len(y)) if groups is None else groups
    usable = np.asarray(np.isfinite(x).all(axis=1) & np.isfinite(y).any(axis=1), np.bool_)
    _require_rows(usable)
    with _one_thread():
        return labels.fit_labels(
            x[usable],
            y[usable],
            classes,
            groups[usable],
            seed=seed,
            warm_start=warm_start,
            settings_of=settings_of,
        )


def fit_number(
    x: Floats,
    y: Floats,
    *,
    seed: int,
    groups: NDArray[np.generic] | None = None,
    settings_of: Head | None = None,
) -> NumberHead:
    """A head for a number: ridge regression of y [N], NaN where unknown.

    Its strength is chosen by leaving out each of `groups` in turn, and so is the error that
    `NumberHead.reach` speaks of. Nothing in it is random, whatever the `seed`. The rest is as for
    `fit`.
    """
    x = np.asarray(x, np.float32)
    y = np.asarray(y, np.float64)
    groups = np.arange(len(y)) if groups is None else groups
    usable: Bools = np.isfinite(x).all(axis=1) & np.isfinite(y)
    _require_rows(usable)
    with _one_thread():
        return number.fit_number(x[usable], y[usable], groups[usable], settings_of=settings_of)


def head_from_arrays(
    kind: str, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
) -> Head:
    """The head that gave these arrays. Raises UnknownNameError, ValueError."""
    if kind in _OTHER_TARGETS:
        return _OTHER_TARGETS[kind](kind, classes, arrays)
    return HEADS.get(kind)().load(classes, arrays)


def _require_rows(usable: Bools) -> None:
    if not usable.any():
        raise ValueError("A head needs at least one label with a finite embedding.")


def _one_thread() -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")
