"""The k nearest labelled images by cosine, nearer ones counting more.

A neighbour counts exp(cosine / 0.07), as in Caron and others, Emerging Properties in
Self-Supervised Vision Transformers, ICCV 2021, after Wu and others, CVPR 2018. k is chosen by
leaving each row's group out. It is scikit-learn's KNeighborsClassifier with these weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Float64s, Floats, Indices
from model.heads.features import normalise
from model.heads.registry import HEADS, FitData

KIND = "knn"

SHARPNESS = 0.07
NEIGHBOURS = (1, 3, 5, 10, 20, 40)  # that are tried
PRESUMED = 5  # where nothing can be left out
TRIED_ROWS = 1000  # that k is chosen on

# Neighbours found in single precision that are looked at again in double.
SPARE = 8
ROWS_AT_ONCE = 256  # images that are compared at a time
REFINED_AT_ONCE = 4  # of those in double precision: what that takes stays in the cache
# What an image without neighbours is worth, beside k neighbours: no class is impossible.
PSEUDO_NEIGHBOURS = 1.0


@dataclass(frozen=True, eq=False)
class NeighbourHead:
    """The labelled rows themselves. A class without labels has −inf."""

    classes: tuple[str, ...]
    rows: Float32s  # [n, D], normalised
    label: NDArray[np.int32]  # [n] indices into classes
    weight: Float32s  # [n], how much each row's vote counts
    power: float  # of `normalise`
    k: int

    @property
    def kind(self) -> str:
        """`knn`."""
        return KIND

    def probabilities(self, x: Floats) -> Float64s:
        """Each class's share [N, C] of the neighbours' votes on embeddings [N, D]."""
        shares = np.empty((len(x), len(self.classes)))
        for start in range(0, len(x), ROWS_AT_ONCE):
            rows = normalise(x[start : start + ROWS_AT_ONCE], self.power)
            near, distance = _nearest(rows, self.rows, rows @ self.rows.T, self.k)
            shares[start : start + len(rows)] = self.shares_of(near, distance)
        return shares

    def logits(self, x: Floats) -> Float32s:
        """Logits [N, C] of embeddings [N, D] of any float type; NaN where an embedding has none."""
        seen = np.zeros(len(self.classes))
        seen[np.unique(self.label)] = PSEUDO_NEIGHBOURS
        logits = np.full((len(x), len(self.classes)), np.nan, np.float32)
        finite = np.isfinite(x).all(axis=1)
        votes = self.k * self.probabilities(x[finite]) + seen / np.count_nonzero(seen)
        with np.errstate(divide="ignore"):
            logits[finite] = np.log(votes / (self.k + PSEUDO_NEIGHBOURS))
        return logits

    def shares_of(self, near: Indices, distance: Float64s) -> Float64s:
        """Each class's share [N, C] of the votes of rows `near` [N, k] at these distances."""
        votes = neighbour_weight(distance) * self.weight[near]
        cell = np.arange(len(near))[:, None] * len(self.classes) + self.label[near]
        count = len(near) * len(self.classes)
        shares = np.bincount(cell.ravel(), votes.ravel(), minlength=count)
        shares = shares.reshape(len(near), len(self.classes))
        normalised: Float64s = shares / shares.sum(axis=1, keepdims=True)
        return normalised

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but kind and classes, to be stored."""
        return {
            "rows": self.rows,
            "label": self.label,
            "weight": self.weight,
            "power": np.array([self.power], np.float32),
            "k": np.array([self.k], np.int32),
        }


@HEADS.register(KIND)
class NeighbourKind:
    """The kind `knn`."""

    complexity = 4
    compared_up_to = None

    def fit(self, data: FitData) -> NeighbourHead:
        """A head that holds all rows."""
        rows, power = data.prepared.rows, data.prepared.power
        label = data.y.astype(np.int32)
        if isinstance(data.settings_of, NeighbourHead):
            k = min(data.settings_of.k, len(rows))
        else:
            k = _choose_k(NeighbourHead(data.classes, rows, label, data.weight, power, 1), data)
        return NeighbourHead(data.classes, rows, label, data.weight, power, k)

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> NeighbourHead:
        """The head of stored arrays."""
        try:
            rows, label, weight = (arrays[name] for name in ("rows", "label", "weight"))
            power, k = float(arrays["power"][0]), int(arrays["k"][0])
        except (KeyError, IndexError) as error:
            raise ValueError(f"A {KIND} head lacks a part: {error}.") from error
        if not (1 <= k <= len(rows) == len(label) == len(weight) and label.max() < len(classes)):
            raise ValueError(
                f"A {KIND} head for {len(classes)} classes has {len(rows)} rows, {len(label)} "
                f"labels up to {label.max(initial=0)}, {len(weight)} weights and k = {k}."
            )
        return NeighbourHead(
            classes,
            np.ascontiguousarray(rows, np.float32),
            np.ascontiguousarray(label, np.int32),
            np.ascontiguousarray(weight, np.float32),
            power,
            k,
        )


def neighbour_weight(distance: Floats) -> Float64s:
    """How much neighbours at these Euclidean distances of rows of length one count."""
    # cosine = 1 − distance² / 2; what all neighbours have in common makes no difference.
    weight: Float64s = np.exp(-np.square(distance, dtype=np.float64) / (2 * SHARPNESS))
    return weight


def _nearest(
    queries: Float32s, rows: Float32s, cosine: Float32s, k: int
) -> tuple[Indices, Float64s]:
    """The k nearest rows [N, k] of each query, nearest first, and their distances.

    By `cosine` [N, n], then by the distance in double precision, then by their place.
    """
    count = min(k + SPARE, len(rows))
    near = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
    near.sort(axis=1)
    distance = np.empty(near.shape)
    for start in range(0, len(near), REFINED_AT_ONCE):
        some = slice(start, start + REFINED_AT_ONCE)
        gaps = rows[near[some]].astype(np.float64) - queries[some, None, :]
        distance[some] = np.sqrt(np.einsum("nkd,nkd->nk", gaps, gaps))
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(distance, order, axis=1)


def _choose_k(head: NeighbourHead, data: FitData) -> int:
    """The k of NEIGHBOURS with the least log-loss on rows whose group was left out."""
    _, group = np.unique(data.groups, return_inverse=True)
    # As many as every row has outside its group.
    allowed = len(group) - int(np.bincount(group).max())
    tried = [k for k in NEIGHBOURS if k <= allowed]
    if not tried:
        return min(PRESUMED, len(group))
    rng = np.random.default_rng(data.seed)
    queries = np.sort(rng.permutation(len(group))[:TRIED_ROWS])
    losses = np.zeros(len(tried))
    seen = len(np.unique(head.label))
    for start in range(0, len(queries), ROWS_AT_ONCE):
        some = queries[start : start + ROWS_AT_ONCE]
        cosine = head.rows[some] @ head.rows.T
        cosine[group[some][:, None] == group] = -np.inf
        near, distance = _nearest_outside(cosine, max(tried))
        for place, k in enumerate(tried):
            shares = head.shares_of(near[:, :k], distance[:, :k])
            own = k * shares[np.arange(len(some)), head.label[some]] + PSEUDO_NEIGHBOURS / seen
            losses[place] -= data.weight[some] @ np.log(own / (k + PSEUDO_NEIGHBOURS))
    return tried[int(np.argmin(losses))]


def _nearest_outside(cosine: Float32s, k: int) -> tuple[Indices, Float64s]:
    near = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(cosine, near, axis=1).astype(np.float64)
    return near, np.sqrt(np.maximum(2 - 2 * found, 0))
