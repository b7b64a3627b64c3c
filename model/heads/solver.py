"""Multinomial logistic regression with an L2 penalty: preconditioned L-BFGS in numpy.

The loss is the weighted mean of cross-entropy + penalty / 2 · ‖W‖², the bias unpenalised. In the
basis of its principal components the data's second moment is diagonal, so that the Hessian is
nearly κ · diag(variance) + penalty with κ the mean of p · (1 − p) over classes; its inverse as the
initial matrix of L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.4) brings the
optimum within some ten steps at any penalty.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MEMORY = 10  # pairs of steps and gradients kept
BACKTRACKS = 12  # halvings of one step before the search is given up
SUFFICIENT_DECREASE = 1e-4  # Armijo's constant


@dataclass(frozen=True)
class Problem:
    """Rows in the basis of their principal components, and what class each has."""

    z: Floats  # [n, r + 1], the last column is one: the bias
    onehot: Floats  # [n, C]
    weight: Floats  # [n], how much a row counts, 1 on average
    variance: Floats  # [r + 1], mean square of each column of z


def problem(z: Floats, y: NDArray[np.intp], classes: int, weight: Floats) -> Problem:
    """From coordinates [n, r], classes [n] in 0 … classes − 1, and weights [n] of any scale."""
    onehot = np.zeros((len(y), classes), np.float32)
    onehot[np.arange(len(y)), y] = 1
    z = np.concatenate([z, np.ones((len(z), 1), np.float32)], axis=1)
    weight = weight / weight.mean()
    variance = weight @ np.square(z) / np.float32(len(z))
    return Problem(z, onehot, weight, variance)


def minimise(
    data: Problem, penalty: float, start: Floats, *, tolerance: float, max_steps: int = 200
) -> Floats:
    """The weights [r + 1, C] of least loss, the last row the bias, from `start`.

    It stops when a further step is expected to lower the loss by less than `tolerance` nats.
    """
    penalties = np.full((len(data.variance), 1), penalty, np.float32)
    penalties[-1] = 0
    w = start.astype(np.float32)
    loss, gradient, curvature = _loss(data, penalties, w)
    hessian = curvature * data.variance[:, None] + penalties + np.float32(1e-12)
    inverse = np.reciprocal(hessian)
    pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=MEMORY)
    for _ in range(max_steps):
        direction = -_times_inverse_hessian(gradient, inverse, pairs)
        slope = _dot(direction, gradient)
        if -slope / 2 < tolerance:
            break
        size = 1.0
        for _ in range(BACKTRACKS):
            tried = w + np.float32(size) * direction
            new_loss, new_gradient, _ = _loss(data, penalties, tried)
            if new_loss <= loss + SUFFICIENT_DECREASE * size * slope:
                break
            size /= 2
        else:
            break  # the loss is as low as single precision can tell
        step, change = tried - w, new_gradient - gradient
        product = _dot(step, change)
        if product > 1e-10 * _dot(step, step):
            pairs.append((step, change, product))
        w, loss, gradient = tried, new_loss, new_gradient
    return w


def probabilities(logits: Floats) -> Floats:
    """Softmax over the rows [n, C], computed in place."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def log_loss(z: Floats, y: NDArray[np.intp], weight: Floats, w: Floats) -> float:
    """The sum over rows [n] of weight · −log(probability of the truth)."""
    p = probabilities(z @ w[:-1] + w[-1])
    return float(np.dot(-np.log(np.maximum(p[np.arange(len(y)), y], np.float32(1e-7))), weight))


def _loss(data: Problem, penalties: Floats, w: Floats) -> tuple[float, Floats, np.float32]:
    """Loss, its gradient [r + 1, C], and κ: the mean of p · (1 − p)."""
    n, classes = data.onehot.shape
    p = probabilities(data.z @ w)
    of_truth = np.einsum("ij,ij->i", p, data.onehot)
    losses = -np.log(np.maximum(of_truth, np.float32(1e-30)))
    fit = float(np.dot(losses, data.weight)) / n
    curvature = (1 - np.einsum("ij,ij->", p, p) / n) / max(classes - 1, 1)
    p -= data.onehot
    p *= data.weight[:, None]
    gradient = data.z.T @ p / np.float32(n) + penalties * w
    return fit + 0.5 * _dot(penalties * w, w), gradient, np.float32(curvature)


def _times_inverse_hessian(
    gradient: Floats, inverse: Floats, pairs: deque[tuple[Floats, Floats, float]]
) -> Floats:
    q = gradient.copy()
    weights = []
    for step, change, product in reversed(pairs):
        weight = np.float32(_dot(step, q) / product)
        q -= weight * change
        weights.append(weight)
    q *= inverse
    if pairs:
        step, change, product = pairs[-1]
        q *= np.float32(product / _dot(change, inverse * change))
    for (step, change, product), weight in zip(pairs, reversed(weights), strict=True):
        q += (weight - np.float32(_dot(change, q) / product)) * step
    return q


def _dot(a: Floats, b: Floats) -> float:
    return float(np.einsum("ij,ij->", a, b, dtype=np.float64, casting="same_kind"))
