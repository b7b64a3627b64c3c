"""Heads: from embeddings to logits. A kind of head is one file here, registered in `HEADS`.

Fitting needs scipy and threadpoolctl, which come with scikit-learn; applying a head, numpy alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.heads.registry import HEADS, FitData, Head

# Below this many labels a class, on average over the classes that have any, prototypes.
LOGISTIC_LABELS = 5


def choose_kind(y: NDArray[np.integer]) -> str:
    """The kind of head that suits labels y [N]."""
    seen = len(np.unique(y))
    return "prototype" if seen < 2 or len(y) < LOGISTIC_LABELS * seen else "logistic"


def fit(
    x: NDArray[np.floating],
    y: NDArray[np.integer],
    classes: tuple[str, ...],
    *,
    seed: int,
    warm_start: Head | None = None,
    groups: NDArray[np.generic] | None = None,
    kind: str | None = None,
    settings_of: Head | None = None,
) -> Head:
    """A head fitted on embeddings x [N, D] of labels y [N], indices into `classes`.

    Prototypes below LOGISTIC_LABELS labels a class, else logistic regression, unless `kind` says
    which. `groups` [N] are equal for near-duplicates, which then are never on both sides of a
    split. `warm_start` makes it faster: the optimum is the same, and met within a small tolerance.
    `settings_of` is a head whose strength is taken instead of choosing one. Rows that hold NaN or
    infinity are left out. The same arguments give the same arrays, bit for bit.
    ValueError when no row is left; UnknownNameError for an unknown kind.
    """
    from threadpoolctl import threadpool_limits

    x = np.asarray(x, np.float32)
    y = np.asarray(y, np.intp)
    groups = np.arange(len(y)) if groups is None else groups
    finite = np.isfinite(x).all(axis=1)
    if not finite.any():
        raise ValueError("A head needs at least one label with a finite embedding.")
    data = FitData(x[finite], y[finite], groups[finite], classes, seed, warm_start, settings_of)
    # One thread: the sums then don't depend on how many cores there are, and on a busy machine
    # several threads that wait for each other are slower than one.
    with threadpool_limits(1, "blas"):
        return HEADS.get(kind or choose_kind(data.y))().fit(data)


def head_from_arrays(
    kind: str, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
) -> Head:
    """The head that gave these arrays. Raises UnknownNameError, ValueError."""
    return HEADS.get(kind)().load(classes, arrays)


__all__ = ["Head", "choose_kind", "fit", "head_from_arrays"]
