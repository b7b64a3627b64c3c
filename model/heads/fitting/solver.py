"""L2-penalised losses that are convex in linear logits: preconditioned L-BFGS in numpy.

What is minimised is the mean over rows of a loss + penalty / 2 · ‖W‖², the bias unpenalised. In the
basis of its principal components the data's second moment is diagonal, so that the Hessian is
nearly κ · diag(variance) + penalty with κ the mean curvature of the loss; its inverse as the
initial matrix of L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.4) brings the
optimum within some ten steps at any penalty.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.arrays import Float32s, Indices

MEMORY = 10  # pairs of steps and gradients kept
BACKTRACKS = 12  # halvings of one step before the search is given up
SUFFICIENT_DECREASE = 1e-4  # Armijo's constant


@dataclass(frozen=True)
class Problem:
    """Rows in the basis of their principal components, and what each should give."""

    z: Float32s  # [n, r + 1], the last column is one: the bias
    target: Float32s  # [n, C]
    weight: Float32s  # [n, 1] or [n, C], how much a row counts, about 1 on average
    variance: Float32s  # [r + 1, 1] or [r + 1, C], weighted mean square of each column of z


# Of logits [n, C], which it may overwrite: the mean loss of a row, its gradient in the logits
# times n [n, C], and its mean curvature, of all classes [1] or of each [C].
Loss = Callable[[Problem, Float32s], tuple[float, Float32s, Float32s]]


def problem(z: Float32s, target: Float32s, weight: Float32s) -> Problem:
    """From coordinates [n, r], targets [n, C] and weights [n, 1] or [n, C]."""
    z = np.concatenate([z, np.ones((len(z), 1), np.float32)], axis=1)
    return Problem(z, target, weight, np.square(z).T @ weight / np.float32(len(z)))


def one_hot(y: Indices, classes: int) -> Float32s:
    """[n, C] of y [n] in 0 … C − 1."""
    onehot = np.zeros((len(y), classes), np.float32)
    onehot[np.arange(len(y)), y] = 1
    return onehot


def minimise(
    data: Problem,
    penalty: float,
    start: Float32s,
    *,
    loss_of: Loss,
    tolerance: float,
    max_steps: int = 200,
) -> Float32s:
    """The weights [r + 1, C] of least loss, the last row the bias, from `start`.

    It stops when a further step is expected to lower the loss by less than `tolerance`.
    """
    penalties = np.full((len(data.variance), 1), penalty, np.float32)
    penalties[-1] = 0
    w = start.astype(np.float32)
    loss, gradient, curvature = _evaluate(data, penalties, w, loss_of)
    hessian = curvature * data.variance + penalties + np.float32(1e-12)
    inverse = np.reciprocal(hessian)
    pairs: deque[tuple[Float32s, Float32s, float]] = deque(maxlen=MEMORY)
    for _ in range(max_steps):
        direction = -_times_inverse_hessian(gradient, inverse, pairs)
        slope = _dot(direction, gradient)
        if -slope / 2 < tolerance:
            break
        size = 1.0
        for _ in range(BACKTRACKS):
            tried = w + np.float32(size) * direction
            new_loss, new_gradient, _ = _evaluate(data, penalties, tried, loss_of)
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


def probabilities(logits: Float32s) -> Float32s:
    """Softmax over the rows [n, C], computed in place."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def cross_entropy(data: Problem, logits: Float32s) -> tuple[float, Float32s, Float32s]:
    """Of the softmax, for one-hot targets and weights [n, 1]."""
    n, classes = logits.shape
    p = probabilities(logits)
    of_truth = np.einsum("ij,ij->i", p, data.target)
    losses = -np.log(np.maximum(of_truth, np.float32(1e-30)))
    curvature = (1 - np.einsum("ij,ij->", p, p) / n) / max(classes - 1, 1)
    p -= data.target
    p *= data.weight
    return float(np.dot(losses, data.weight[:, 0])) / n, p, np.array([curvature], np.float32)


def binary_cross_entropy(data: Problem, logits: Float32s) -> tuple[float, Float32s, Float32s]:
    """Of a sigmoid a class, for targets 0 or 1; the loss of a row is summed over classes."""
    n = len(logits)
    p = np.exp(-np.abs(logits))
    likelier = np.reciprocal(p + np.float32(1))
    p *= likelier
    # The softplus of a logit is max(0, logit) − log max(p, 1 − p), and log is faster than log1p.
    losses = np.maximum(logits, 0)
    losses -= np.log(likelier)
    known = np.maximum(data.weight.sum(axis=0), np.float32(1e-12))
    curvature: Float32s = (data.weight * (p * likelier)).sum(axis=0) / known
    np.copyto(p, likelier, where=logits >= 0)
    p -= data.target
    p *= data.weight
    logits *= data.target
    losses -= logits
    return _dot(losses, data.weight) / n, p, curvature


def squared_hinge(data: Problem, logits: Float32s) -> tuple[float, Float32s, Float32s]:
    """max(0, 1 − t · logit)² / 2 for targets t of ±1, summed over classes."""
    n = len(logits)
    short = np.maximum(1 - data.target * logits, 0)
    curvature: Float32s = (short > 0).mean(axis=0, dtype=np.float32)
    loss = _dot(np.square(short), data.weight) / (2 * n)
    return loss, -data.weight * data.target * short, curvature


def _evaluate(
    data: Problem, penalties: Float32s, w: Float32s, loss_of: Loss
) -> tuple[float, Float32s, Float32s]:
    """Loss with its penalty, the gradient [r + 1, C], and the loss's curvature."""
    fit, residual, curvature = loss_of(data, data.z @ w)
    # So transposed, the product takes two thirds of the time.
    gradient = (residual.T @ data.z).T / np.float32(len(data.z)) + penalties * w
    return fit + 0.5 * _dot(penalties * w, w), gradient, curvature


def _times_inverse_hessian(
    gradient: Float32s, inverse: Float32s, pairs: deque[tuple[Float32s, Float32s, float]]
) -> Float32s:
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


def _dot(a: Float32s, b: Float32s) -> float:
    if a.shape != b.shape:
        b = np.broadcast_to(b, a.shape)
    return float(np.einsum("ij,ij->", a, b, dtype=np.float64, casting="same_kind"))
