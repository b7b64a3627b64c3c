"""Fits the initial head layers on the pretrained features, the first half of LP-FT.

Kumar et al., Fine-Tuning can Distort Pretrained Features, ICLR 2022: the gradients of a random head
would distort the features first.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from model.arrays import Bools, Float32s, Float64s, Indices
from model.finetuning.network.network import HeadLayer
from model.finetuning.options import Target
from model.finetuning.results import CannotFinetuneError
from model.heads import Head, fit
from model.heads.features import fitting_power, normalise
from model.heads.linear import LinearHead

# Ridge penalties for numbers, relative to the mean variance of a feature; weak to strong.
PENALTIES = tuple(10.0 ** (step / 2) for step in range(-4, 9))


def initial_head_layers(
    targets: Sequence[Target],
    features: Float32s,
    training: Bools,
    heads: Mapping[str, Head],
    *,
    seed: int,
) -> dict[str, HeadLayer]:
    """Return {target: layer} of heads fitted on the `training` rows [N] of `features` [N, D].

    A head in `heads` that fits is taken instead.

    Raises:
        CannotFinetuneError: all labels are equal.
    """
    layers = {}
    any_differ = False
    for target in targets:
        rows = training & target.labelled()
        any_differ |= _distinct_labels(target, rows) > 1
        given = heads.get(target.name)
        if _fits(given, target, features.shape[1]):
            assert isinstance(given, LinearHead), "it fits"
            layers[target.name] = HeadLayer.of(given)
        else:
            layers[target.name] = HeadLayer.of(_fitted(target, features, rows, seed))
    if not any_differ:
        raise CannotFinetuneError(
            "Fine-tuning needs images of at least two different answers: label some more."
        )
    return layers


def _distinct_labels(target: Target, rows: Bools) -> int:
    y = np.asarray(target.y)[rows]
    if target.kind == "multi":
        return int(max((len(np.unique(c[np.isfinite(c) & (c >= 0)])) for c in y.T), default=0))
    return len(np.unique(y))


def _fits(head: Head | None, target: Target, dim: int) -> bool:
    return (
        isinstance(head, LinearHead)
        and target.kind == "single"
        and head.classes == target.classes
        and head.weight.shape == (dim, target.width)
    )


def _fitted(target: Target, features: Float32s, rows: Bools, seed: int) -> LinearHead:
    power = fitting_power(features)
    y = np.asarray(target.y)
    if target.kind == "number":
        return _ridge(features[rows], y[rows].astype(np.float64), power)
    weight = np.zeros((features.shape[1], target.width), np.float32)
    bias = np.full(target.width, -np.inf, np.float32)
    if target.kind == "multi":
        for column in range(target.width):
            of_class = rows & np.isfinite(y[:, column]) & (y[:, column] >= 0)
            answers = y[of_class, column] > 0
            if len(np.unique(answers)) == 2:
                head = _logistic(features[of_class], answers.astype(np.intp), ("0", "1"), seed)
                weight[:, column] = head.weight[:, 1] - head.weight[:, 0]
                bias[column] = head.bias[1] - head.bias[0]
        bias[~np.isfinite(bias)] = min(-3.0, float(bias[np.isfinite(bias)].min(initial=-3.0)))
    elif len(np.unique(y[rows])) > 1:
        return _logistic(features[rows], y[rows].astype(np.intp), target.classes, seed)
    else:
        bias[y[rows].astype(np.intp)] = 0.0
    return LinearHead("logistic", target.classes, weight, bias, power, 0.0)


def _logistic(x: Float32s, y: Indices, classes: tuple[str, ...], seed: int) -> LinearHead:
    head = fit(x, y, classes, seed=seed, kind="logistic")
    assert isinstance(head, LinearHead), "logistic heads are linear"
    return head


def _ridge(x: Float32s, y: Float64s, power: float) -> LinearHead:
    """Ridge regression on standardised labels; the penalty of least leave-one-out error."""
    weight, bias = np.zeros((x.shape[1], 1), np.float32), np.zeros(1, np.float32)
    if len(np.unique(y)) > 1:
        standard = (y - y.mean()) / y.std()
        rows = normalise(x, power).astype(np.float64)
        mean = rows.mean(axis=0)
        moments = (rows - mean).T @ (rows - mean)
        values, vectors = np.linalg.eigh(moments)
        values = np.maximum(values, 0.0)
        turned = (rows - mean) @ vectors
        least = np.inf
        for penalty in np.array(PENALTIES) * max(float(values.mean()), 1e-12):
            coefficients = (turned.T @ standard) / (values + penalty)
            leverage = np.square(turned) @ (1 / (values + penalty)) + 1 / len(y)
            left_out = (standard - turned @ coefficients) / np.maximum(1 - leverage, 1e-6)
            error = float(np.square(left_out).mean())
            if error < least:
                least = error
                weight[:, 0] = vectors @ coefficients
        bias[0] = -float(mean @ weight[:, 0])
    return LinearHead("number", ("value",), weight, bias, power, 0.0)
