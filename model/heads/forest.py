"""A random forest: scikit-learn grows it, and plain arrays of its nodes are served."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Float64s, Floats
from model.heads.registry import HEADS, FitData

KIND = "forest"

TREES = 100
ROWS_AT_ONCE = 4096  # images that are walked down all trees at a time
# What a tree that knows nothing is worth, beside TREES that vote: no class is impossible.
PSEUDO_TREES = 1.0


@dataclass(frozen=True, eq=False)
class ForestHead:
    """All nodes of all trees, one after the other. A class without labels has −inf.

    A row goes left where its feature is at most the threshold. A leaf leads to itself, whatever the
    row. What a leaf says is a slice of `leaf_class` and `leaf_share`: most leaves hold one class.
    """

    classes: tuple[str, ...]
    roots: NDArray[np.int32]  # [T]
    feature: NDArray[np.int32]  # [nodes]
    threshold: Float32s  # [nodes]
    left: NDArray[np.int32]  # [nodes]
    right: NDArray[np.int32]  # [nodes]
    depth: int  # steps from a root to the deepest leaf
    first: NDArray[np.int32]  # [nodes + 1], where each node's slice begins; empty but for leaves
    leaf_class: NDArray[np.int32]  # indices into classes
    leaf_share: Float32s

    @property
    def kind(self) -> str:
        """`forest`."""
        return KIND

    def probabilities(self, x: Floats) -> Float64s:
        """The mean [N, C] of the trees' probabilities for embeddings [N, D]."""
        shares = np.empty((len(x), len(self.classes)))
        for start in range(0, len(x), ROWS_AT_ONCE):
            rows = np.ascontiguousarray(x[start : start + ROWS_AT_ONCE], np.float32)
            shares[start : start + len(rows)] = self._say(self._leaves(rows), len(rows))
        return shares

    def logits(self, x: Floats) -> Float32s:
        """Logits [N, C] of embeddings [N, D] of any float type; NaN where an embedding has none."""
        seen = np.zeros(len(self.classes))
        seen[np.unique(self.leaf_class)] = PSEUDO_TREES
        trees = len(self.roots)
        logits = np.full((len(x), len(self.classes)), np.nan, np.float32)
        finite = np.isfinite(x).all(axis=1)
        votes = trees * self.probabilities(x[finite]) + seen / np.count_nonzero(seen)
        with np.errstate(divide="ignore"):
            logits[finite] = np.log(votes / (trees + PSEUDO_TREES))
        return logits

    def _leaves(self, rows: Float32s) -> NDArray[np.int32]:
        """The leaf [N, T] that each row ends in."""
        node = np.repeat(self.roots[None], len(rows), axis=0)
        start = (np.arange(len(rows)) * rows.shape[1])[:, None]
        values = rows.ravel()
        for _ in range(self.depth):
            low = values[start + self.feature[node]] <= self.threshold[node]
            node = np.where(low, self.left[node], self.right[node])
        return node

    def _say(self, leaves: NDArray[np.int32], count: int) -> Float64s:
        row = np.repeat(np.arange(count), leaves.shape[1])
        leaf = leaves.ravel()
        start = self.first[leaf]
        length = self.first[leaf + 1] - start
        # The places of each leaf's slice, one slice after the other.
        place = np.repeat(start - (np.cumsum(length) - length), length) + np.arange(length.sum())
        cell = np.repeat(row, length) * len(self.classes) + self.leaf_class[place]
        size = count * len(self.classes)
        total = np.bincount(cell, self.leaf_share[place], minlength=size)
        mean: Float64s = total.reshape(count, -1) / len(self.roots)
        return mean

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but kind and classes, to be stored."""
        return {
            "roots": self.roots,
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "depth": np.array([self.depth], np.int32),
            "first": self.first,
            "leaf_class": self.leaf_class,
            "leaf_share": self.leaf_share,
        }


@HEADS.register(KIND)
class ForestKind:
    """The kind `forest`."""

    complexity = 5
    compared_up_to = 2500

    def fit(self, data: FitData) -> ForestHead:
        """A head of the classes that have rows; the others get −inf."""
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(TREES, random_state=data.seed, n_jobs=1)
        # Weights that are equal are still drawn by, and would make another forest than none.
        equal = np.ptp(data.weight) == 0
        forest.fit(data.prepared.x, data.y, sample_weight=None if equal else data.weight)
        return flatten(forest, data.classes)

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> ForestHead:
        """The head of stored arrays."""
        try:
            head = ForestHead(
                classes,
                np.ascontiguousarray(arrays["roots"], np.int32),
                np.ascontiguousarray(arrays["feature"], np.int32),
                np.ascontiguousarray(arrays["threshold"], np.float32),
                np.ascontiguousarray(arrays["left"], np.int32),
                np.ascontiguousarray(arrays["right"], np.int32),
                int(arrays["depth"][0]),
                np.ascontiguousarray(arrays["first"], np.int32),
                np.ascontiguousarray(arrays["leaf_class"], np.int32),
                np.ascontiguousarray(arrays["leaf_share"], np.float32),
            )
        except (KeyError, IndexError) as error:
            raise ValueError(f"A {KIND} head lacks a part: {error}.") from error
        nodes = len(head.feature)
        lengths = {len(head.threshold), len(head.left), len(head.right), len(head.first) - 1}
        if lengths != {nodes} or head.leaf_class.max(initial=0) >= len(classes):
            raise ValueError(
                f"A {KIND} head for {len(classes)} classes has nodes of {nodes} features and parts "
                f"of {sorted(lengths)}, classes up to {head.leaf_class.max(initial=0)}."
            )
        return head


def flatten(forest: Any, classes: tuple[str, ...]) -> ForestHead:
    """The arrays of a fitted RandomForestClassifier whose labels are indices into `classes`."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    sizes = np.array([tree.node_count for tree in trees])
    starts = np.cumsum(sizes) - sizes
    feature = np.concatenate([tree.feature for tree in trees])
    leaf = feature < 0
    own = np.arange(len(feature))

    def child(name: str) -> NDArray[np.int32]:
        parts = [getattr(tree, name) + start for tree, start in zip(trees, starts, strict=True)]
        return np.where(leaf, own, np.concatenate(parts)).astype(np.int32)

    value = np.concatenate([tree.value[:, 0, :] for tree in trees])
    value[~leaf] = 0
    value /= np.maximum(value.sum(axis=1, keepdims=True), 1e-300)
    node, column = np.nonzero(value)
    return ForestHead(
        classes,
        starts.astype(np.int32),
        np.where(leaf, 0, feature).astype(np.int32),
        _round_down(np.concatenate([tree.threshold for tree in trees])),
        child("children_left"),
        child("children_right"),
        int(max(tree.max_depth for tree in trees)),
        np.searchsorted(node, np.arange(len(feature) + 1)).astype(np.int32),
        np.asarray(forest.classes_)[column].astype(np.int32),
        value[node, column].astype(np.float32),
    )


def _round_down(thresholds: Float64s) -> Float32s:
    """To single precision: x ≤ threshold stays as it is for every x in single precision."""
    near = thresholds.astype(np.float32)
    above = near.astype(np.float64) > thresholds
    rounded: Float32s = np.where(above, np.nextafter(near, np.float32(-np.inf)), near)
    return rounded
