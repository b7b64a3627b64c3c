"""BAIT: images whose labels minimise a bound on the error, by Fisher information.

Ash, Goel, Krishnamurthy, Kakade: Gone fishing, neural active learning with Fisher embeddings
(NeurIPS 2021), with the binary likelihood of Huseljic, Herde, Hahn, Müjde, Sick: Efficient Bayesian
updates for deep active learning (2024): whether the head's prediction is correct has the Fisher
information I(x) = p (1 − p) x xᵀ, p the probability of the most probable class. The chosen images
minimise trace((M + Σ I(x))⁻¹ F), F the pool's mean information and M that of labelled images.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import (
    head_features,
    oversampled,
    random_subset,
    top_without_duplicates,
)
from model.selection.registry import STRATEGIES, NeedsPredictionsError, Pool, Probabilities

NAME = "bait"

SUB_POOL = 5000  # candidates
SAMPLE = 500  # candidates for the principal component analysis
RANK = 128  # principal components
PRIOR = 1e-2  # information before any label, relative to the mean of the components


@STRATEGIES.register(NAME)
class Bait:
    """The strategy `bait`. It needs predictions, also for labelled images."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose greedily by the trace above."""
        if not pool.probabilities:
            raise NeedsPredictionsError("BAIT needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        free, others = random_subset(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        rows = head_features(pool, pool.x[free])
        mean, axes = _axes(rows[:SAMPLE])
        z = _coordinates(rows, mean, axes)
        weight = information([p[free] for p in pool.probabilities])
        labelled = head_features(pool, pool.x[avoid])
        labelled_weight = information([p[avoid] for p in pool.probabilities])
        if len(pool.labelled) and pool.predict is not None:
            labelled = np.concatenate([labelled, head_features(pool, pool.labelled)])
            answers = pool.predict(np.asarray(pool.labelled, np.float32))
            labelled_weight = np.concatenate([labelled_weight, information(list(answers))])
        z_labelled = _coordinates(labelled, mean, axes)
        ranked = free[_greedy(z, weight, z_labelled, labelled_weight, oversampled(k))]
        return top_without_duplicates(pool, ranked, np.concatenate([free, others]), k, avoid)


def information(controls: list[Probabilities]) -> Float32s:
    """[n] p (1 − p) of the most probable class, the mean over controls [n, C]."""
    best = [np.asarray(p, np.float32).max(axis=1) for p in controls]
    weight: Float32s = np.mean([p * (1 - p) for p in best], axis=0, dtype=np.float32)
    return np.maximum(weight, np.float32(1e-4))


def _axes(rows: Float32s) -> tuple[Float32s, Float32s]:
    """Mean [D] and principal axes [D, r] of rows [n, D], scaled to a mean square of 1 a row."""
    mean = rows.mean(axis=0)
    centred = (rows - mean).astype(np.float64)
    variances, vectors = np.linalg.eigh(centred @ centred.T)
    largest = np.flatnonzero(variances > max(1e-6 * variances[-1], 1e-12))[::-1][:RANK]
    axes = centred.T @ vectors[:, largest] / np.sqrt(variances[largest])
    scale = np.sqrt(max(float(np.square(centred).sum(axis=1).mean()), 1e-12))
    return mean, np.asarray(axes / scale, np.float32)


def _coordinates(rows: Float32s, mean: Float32s, axes: Float32s) -> Float32s:
    coordinates: Float32s = np.matmul(rows - mean, axes)
    return coordinates


def _greedy(
    z: Float32s, weight: Float32s, labelled: Float32s, labelled_weight: Float32s, k: int
) -> Indices:
    """Choose up to k rows of z [n, r], updating the inverse by Sherman and Morrison's formula."""
    ones = np.ones((len(z), 1), np.float32)
    z = np.concatenate([z, ones], axis=1).astype(np.float64)
    labelled = np.concatenate([labelled, np.ones((len(labelled), 1), np.float32)], axis=1).astype(
        float
    )
    target = (z * weight[:, None]).T @ z / len(z)
    information_before = (labelled * labelled_weight[:, None]).T @ labelled
    information_before += np.eye(z.shape[1]) * PRIOR
    inverse = np.linalg.inv(information_before)
    inner = inverse @ target @ inverse
    reach = np.einsum("ij,ij->i", z @ inverse, z)
    gain = np.einsum("ij,ij->i", z @ inner, z)
    chosen: list[int] = []
    chosen_mask = np.zeros(len(z), np.bool_)
    for _ in range(min(k, len(z))):
        value = weight * gain / (1 + weight * reach)
        value[chosen_mask] = -1
        best = int(value.argmax())
        chosen.append(best)
        chosen_mask[best] = True
        a = inverse @ z[best]  # A⁻¹x
        b = inner @ z[best]  # A⁻¹FA⁻¹x
        c = weight[best] / (1 + weight[best] * reach[best])
        za, zb = z @ a, z @ b
        gain = gain - 2 * c * za * zb + c * c * gain[best] * za * za
        reach = reach - c * za * za
        inverse -= c * np.outer(a, a)
        inner += c * c * float(z[best] @ b) * np.outer(a, a) - c * (np.outer(a, b) + np.outer(b, a))
    return np.array(chosen, np.intp)
