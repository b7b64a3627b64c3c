"""Prototypes: the nearest class mean, for the first few labels of a class.

Distances are measured in the classes' common within-class covariance, shrunk towards a sphere, and
the means are shrunk towards the mean of all: linear discriminant analysis with flattened priors
(Friedman, Regularized Discriminant Analysis, JASA 1989). It works from one label a class, and a
class with few labels isn't drowned by one with many.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Indices
from model.heads.fitting.score_scaling import divisor
from model.heads.linear import LinearHead, spread
from model.heads.registry import HEADS, FitData
from model.statistics.folds import grouped_folds

KIND = "prototype"

# Of the covariance, how much is the sphere. Flat from 0.2 to 0.5 on the embeddings tried.
SPHERE_SHARE = 0.3
# Rows at the mean of all that each class is given: it draws the means of the smallest classes in.
PSEUDO_ROWS = 1.0

# The power of the classes' frequencies that is their prior: between equal classes, which is best
# when the labels were picked, and the frequencies themselves, right when they were drawn.
PRIOR_SHARE = 0.25

FOLDS = 5


@HEADS.register(KIND)
class PrototypeKind:
    """The kind `prototype`."""

    complexity = 0
    compared_up_to = None

    def fit(self, data: FitData) -> LinearHead:
        """A head of the classes that have rows; the others get −inf."""
        prepared = data.prepared
        z = prepared.z
        seen, label = np.unique(data.y, return_inverse=True)
        w = _discriminants(z, label, data.weight, len(seen)) / _temperature(z, label, data)
        w[-1] += PRIOR_SHARE * np.log(np.bincount(label, data.weight))
        weight, bias = prepared.basis.to_features(w.astype(np.float32))
        weight, bias = spread(seen, len(data.classes), weight, bias)
        return LinearHead(KIND, data.classes, weight, bias, prepared.power, penalty=0.0)

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> LinearHead:
        """The head of stored arrays."""
        return LinearHead.from_arrays(KIND, classes, arrays)


def _discriminants(z: Float32s, label: Indices, weight: Float32s, classes: int) -> Float32s:
    """Weights [r + 1, C] on coordinates [n, r] that are centred, the last row the bias.

    Each row counts as much as its weight [n].
    """
    z = z.astype(np.float64)
    counts = np.bincount(label, weight, minlength=classes)
    sums = np.zeros((classes, z.shape[1]))
    np.add.at(sums, label, z * weight[:, None])
    present = np.where(counts > 0, counts, 1)[:, None]
    centred = z - (sums / present)[label]
    within = (centred * weight[:, None]).T @ centred / max(counts.sum() - classes, 1)
    rank = max(z.shape[1], 1)
    # With one row a class nothing is known of the covariance: the sphere alone.
    sphere = max(np.trace(within) / rank, 1e-3 / rank)
    shrunk = (1 - SPHERE_SHARE) * within + SPHERE_SHARE * sphere * np.eye(z.shape[1])
    means = sums / (counts + PSEUDO_ROWS)[:, None]
    weight = np.linalg.solve(shrunk, means.T)
    bias = -0.5 * np.einsum("cr,rc->c", means, weight)
    bias[counts == 0] = -np.inf
    w: Float32s = np.concatenate([weight, bias[None]]).astype(np.float32)
    return w


def _logits(z: Float32s, w: Float32s) -> Float32s:
    logits: Float32s = z @ w[:-1] + w[-1]
    return logits


def _temperature(z: Float32s, label: Indices, data: FitData) -> float:
    """The temperature that calibrates the logits of held-out rows."""
    classes = int(label.max()) + 1
    own = _logits(z, _discriminants(z, label, data.weight, classes))
    folds = grouped_folds(label, data.groups, FOLDS, seed=data.seed)
    logits = np.empty_like(own)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        if held.all():
            return divisor(own, None, label)
        w = _discriminants(z[~held], label[~held], data.weight[~held], classes)
        logits[held] = _logits(z[held], w)
    return divisor(own, logits, label)
