"""Fits heads of every kind on embeddings, and reads them from stored arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Ints
from model.heads import labels, number
from model.heads.fitting.threads import one_thread
from model.heads.linear import LinearHead
from model.heads.number import NumberHead
from model.heads.registry import HEADS, FitData, Head

# Below this many labels a class, on average over the classes that have any, prototypes: they are
# ahead of logistic regression by 1.3 to 2.0 points with 5, 10 and 20 labels a class.
LOGISTIC_LABELS = 20

# What `fit_labels` and `fit_number` give: no kinds to choose among for single labels.
_OTHER_TARGETS: dict[str, Callable[..., LinearHead]] = {
    labels.KIND: LinearHead.from_arrays,
    number.KIND: NumberHead.from_arrays,
}


def choose_kind(y: Ints) -> str:
    """The kind of head that suits labels y [N] by their number alone."""
    seen = len(np.unique(y))
    return "prototype" if seen < 2 or len(y) < LOGISTIC_LABELS * seen else "logistic"


def fit(data: FitData, *, kind: str | None = None) -> Head:
    """A head fitted on labels of one class each, `data.y` [N] indices into `data.classes`.

    Prototypes below LOGISTIC_LABELS labels a class, else logistic regression, unless `kind` says
    which. An image whose label is in doubt may have a row for each class, with a weight each.
    `data.warm_start` makes it faster: the optimum is the same, and met within a small tolerance.
    Rows that hold NaN or infinity, or weigh nothing, are left out. The same data gives the same
    arrays, bit for bit.

    Raises:
        ValueError: no row is left.
        UnknownNameError: there is no such kind.
    """
    data = _usable(data)
    kind = kind or choose_kind(data.y)
    return _fit_each([kind], data, {kind: data.settings_of})[kind]


def fit_each(
    kinds: Sequence[str], data: FitData, settings_of: Mapping[str, Head]
) -> dict[str, Head]:
    """A head of each of `kinds`, as `fit` gives it, for less than all of them one by one.

    `settings_of` are heads by kind.
    """
    return _fit_each(kinds, _usable(data), settings_of)


def _usable(data: FitData) -> FitData:
    usable = np.isfinite(data.x).all(axis=1) & (data.weight > 0)
    _require_rows(usable)
    return replace(data.part(usable), y=np.asarray(data.y[usable], np.intp))


def _fit_each(
    kinds: Sequence[str], data: FitData, settings_of: Mapping[str, Head | None]
) -> dict[str, Head]:
    # One thread: the sums then don't depend on how many cores there are, and on a busy machine
    # several threads that wait for each other are slower than one.
    with one_thread():
        return {
            kind: HEADS.get(kind)().fit(replace(data, settings_of=settings_of.get(kind)))
            for kind in kinds
        }


def fit_labels(data: FitData) -> Head:
    """A head for any number of classes at once: sigmoid(logits) are its probabilities.

    `data.y` [N, C] is 1 where the image has the class, 0 where it has not, NaN where nobody said. A
    class that no row has gets −inf, one that every row has the same finite logit everywhere.
    Weights are not looked at. The rest is as for `fit`.
    """
    y = np.asarray(data.y, np.float32)
    usable = np.asarray(np.isfinite(data.x).all(axis=1) & np.isfinite(y).any(axis=1), np.bool_)
    _require_rows(usable)
    with one_thread():
        return labels.fit_labels(replace(data.part(usable), y=y[usable]))


def fit_number(data: FitData) -> NumberHead:
    """A head for a number: ridge regression of `data.y` [N], NaN where unknown.

    Its strength is chosen by leaving out each of the groups in turn, and so is the error that
    `NumberHead.reach` speaks of. Nothing in it is random, whatever the seed. Weights are not looked
    at. The rest is as for `fit`.
    """
    y = np.asarray(data.y, np.float64)
    usable: Bools = np.isfinite(data.x).all(axis=1) & np.isfinite(y)
    _require_rows(usable)
    with one_thread():
        return number.fit_number(replace(data.part(usable), y=y[usable]))


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
