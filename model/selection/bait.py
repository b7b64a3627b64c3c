"""BAIT: images that tell most about those that the head is unsure of.

Ash, Goel, Krishnamurthy, Kakade: Gone fishing, neural active learning with Fisher embeddings
(NeurIPS 2021), with the binary likelihood of Huseljic, Herde, Hahn, Müjde, Sick: Efficient Bayesian
updates for deep active learning (2024): the question whether the head's answer is right has the
Fisher information p (1 − p) x xᵀ, p the probability of the likeliest class. Chosen is what makes
trace((M + Σ I(x))⁻¹ F) least, F the pool's mean information and M that of labelled images.
"""

import numpy as np

from model.arrays import Float32s, Indices
from model.selection.geometry import drawn_from, finished, usual_rows, with_spare
from model.selection.registry import STRATEGIES, Distribution, NeedsPredictionsError, Pool

NAME = "bait"

SUB_POOL = 5000  # images looked at
SAMPLE = 500  # of them, whose principal components are taken
RANK = 128  # principal components in which information is compared
PRIOR = 1e-2  # information there is before any label, of each of all components' mean


@STRATEGIES.register(NAME)
class Bait:
    """The strategy `bait`. It needs predictions, and heads to ask about labelled images."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Greedily what leaves the pool's questions least open."""
        if not pool.controls:
            raise NeedsPredictionsError("BAIT needs probabilities.")
        rng = np.random.default_rng(pool.seed)
        free, others = drawn_from(pool, avoid, SUB_POOL, rng)
        if not len(free) or k <= 0:
            return []
        rows = usual_rows(pool, pool.x[free])
        mean, axes = _axes(rows[:SAMPLE])
        z = _coordinates(rows, mean, axes)
        weight = information([p[free] for p in pool.controls])
        known = usual_rows(pool, pool.x[avoid])
        known_weight = information([p[avoid] for p in pool.controls])
        if len(pool.labelled) and pool.ask is not None:
            known = np.concatenate([known, usual_rows(pool, pool.labelled)])
            answers = pool.ask(np.asarray(pool.labelled, np.float32))
            known_weight = np.concatenate([known_weight, information(list(answers))])
        z_known = _coordinates(known, mean, axes)
        ranked = free[_greedy(z, weight, z_known, known_weight, with_spare(k))]
        return finished(pool, ranked, np.concatenate([free, others]), k, avoid)


def information(controls: list[Distribution]) -> Float32s:
    """[n] p (1 − p) of the likeliest class, the mean over controls."""
    best = [np.asarray(p, np.float32).max(axis=1) for p in controls]
    weight: Float32s = np.mean([p * (1 - p) for p in best], axis=0, dtype=np.float32)
    return np.maximum(weight, np.float32(1e-4))


def _axes(rows: Float32s) -> tuple[Float32s, Float32s]:
    """Mean [D] and principal axes [D, r] of rows [n, D], scaled to a mean square of 1 a row."""
    mean = rows.mean(axis=0)
    centred = (rows - mean).astype(np.float64)
    variances, vectors = np.linalg.eigh(centred @ centred.T)
    kept = np.flatnonzero(variances > max(1e-6 * variances[-1], 1e-12))[::-1][:RANK]
    axes = centred.T @ vectors[:, kept] / np.sqrt(variances[kept])
    scale = np.sqrt(max(float(np.square(centred).sum(axis=1).mean()), 1e-12))
    return mean, np.asarray(axes / scale, np.float32)


def _coordinates(rows: Float32s, mean: Float32s, axes: Float32s) -> Float32s:
    coordinates: Float32s = np.matmul(rows - mean, axes)
    return coordinates


def _greedy(
    z: Float32s, weight: Float32s, known: Float32s, known_weight: Float32s, k: int
) -> Indices:
    """Up to k rows of z [n, r], by Sherman and Morrison's formula for each one more."""
    ones = np.ones((len(z), 1), np.float32)
    z = np.concatenate([z, ones], axis=1).astype(np.float64)
    known = np.concatenate([known, np.ones((len(known), 1), np.float32)], axis=1).astype(float)
    target = (z * weight[:, None]).T @ z / len(z)
    held = (known * known_weight[:, None]).T @ known
    held += np.eye(z.shape[1]) * PRIOR
    inverse = np.linalg.inv(held)
    inner = inverse @ target @ inverse
    reach = np.einsum("ij,ij->i", z @ inverse, z)
    gain = np.einsum("ij,ij->i", z @ inner, z)
    chosen: list[int] = []
    taken = np.zeros(len(z), np.bool_)
    for _ in range(min(k, len(z))):
        value = weight * gain / (1 + weight * reach)
        value[taken] = -1
        best = int(value.argmax())
        chosen.append(best)
        taken[best] = True
        a = inverse @ z[best]  # A⁻¹x
        b = inner @ z[best]  # A⁻¹FA⁻¹x
        c = weight[best] / (1 + weight[best] * reach[best])
        za, zb = z @ a, z @ b
        gain = gain - 2 * c * za * zb + c * c * gain[best] * za * za
        reach = reach - c * za * za
        inverse -= c * np.outer(a, a)
        inner += c * c * float(z[best] @ b) * np.outer(a, a) - c * (np.outer(a, b) + np.outer(b, a))
    return np.array(chosen, np.intp)
