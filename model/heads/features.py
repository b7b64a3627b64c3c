"""Normalises embeddings, and finds the basis that heads are fitted in."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.arrays import Float32s, Floats

# Components with less of the variance than this, relative to the first, are rounding.
NEGLIGIBLE = 1e-6
# Components that heads are fitted in; 256 cost 0.3 points on 1,000 labels of ten classes.
RANK = 512


def normalise(x: Floats, power: float) -> Float32s:
    """Rows [N, D] raised to `power`, sign kept, and brought to length one; zero rows stay zero.

    With power 0.5 the long tail of non-negative features (pooled activations) is drawn in: the
    power normalisation of Perronnin, Sánchez, Mensink (ECCV 2010), Tukey's transform in few-shot
    learning. On EfficientNet-Lite0 it is worth up to three points of accuracy.
    """
    x = np.asarray(x, np.float32)
    if power != 1:
        x = np.copysign(np.abs(x) ** np.float32(power), x)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    normalised: Float32s = x / np.maximum(length, np.float32(1e-12))
    return normalised


def fitting_power(x: Floats) -> float:
    """The power for `normalise`: 0.5 when all features are non-negative, else 1 (none)."""
    return 0.5 if x.min(initial=0) >= 0 else 1.0


@dataclass(frozen=True)
class Basis:
    """Principal components of normalised rows, scaled so that the rows' total variance is one."""

    mean: Float32s  # [D]
    axes: Float32s  # [D, r], orthogonal columns of length 1 / scale, most variance first

    def coordinates(self, x: Float32s) -> Float32s:
        """Of normalised rows [N, D]: [N, r]."""
        coordinates: Float32s = np.matmul(x - self.mean, self.axes)
        return coordinates

    def from_features(self, weight: Float32s) -> Float32s:
        """The projection [r] of a weight [D] on normalised rows onto this basis."""
        lengths = np.linalg.norm(self.axes, axis=0)
        coordinates: Float32s = np.matmul(weight, self.axes / np.square(lengths))
        return coordinates

    def to_features(self, w: Float32s) -> tuple[Float32s, Float32s]:
        """Weight [D, C] and bias [C] on normalised rows, of weights [r + 1, C] on coordinates."""
        weight = self.axes @ w[:-1]
        return weight, w[-1] - self.mean @ weight


def basis(x: Float32s, rank: int) -> Basis:
    """The basis of normalised rows [n, D] with at most `rank` components.

    A head with an L2 penalty lies in the span of its rows, so that nothing is lost when all of it
    is kept, and everything is smaller when n < D.
    """
    from scipy.linalg import eigh  # comes with scikit-learn; serving has neither

    mean = x.mean(axis=0)
    centred = x - mean
    scale = np.sqrt(np.square(centred).sum(axis=1).mean())
    if scale < 1e-6:  # all rows are one
        return Basis(mean, np.zeros((x.shape[1], 0), np.float32))
    centred /= scale
    n, dim = centred.shape
    moments = centred @ centred.T if n <= dim else centred.T @ centred
    last = len(moments) - 1
    variances, vectors = eigh(moments, subset_by_index=(max(0, last + 1 - rank), last))
    kept = np.nonzero(variances > NEGLIGIBLE * variances[-1])[0][::-1]
    axes = vectors[:, kept]
    if n <= dim:
        axes = centred.T @ axes / np.sqrt(variances[kept])
    return Basis(mean, np.ascontiguousarray(axes / scale, np.float32))


@dataclass(frozen=True, eq=False)
class Prepared:
    """Embeddings [N, D], their normalised rows and coordinates, computed once for all heads."""

    x: Float32s

    @cached_property
    def power(self) -> float:
        """For `normalise`."""
        return fitting_power(self.x)

    @cached_property
    def rows(self) -> Float32s:
        """Normalised [N, D]."""
        return normalise(self.x, self.power)

    @cached_property
    def basis(self) -> Basis:
        """Of the rows, with at most RANK components."""
        return basis(self.rows, RANK)

    @cached_property
    def z(self) -> Float32s:
        """The rows' coordinates [N, r]."""
        return self.basis.coordinates(self.rows)
