"""Heads for several labels an image: a sigmoid a class, unknown labels left out."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from model.heads import FitData, fit_labels, head_from_arrays
from model.heads.features import normalise

DIGITS = load_digits()
X: NDArray[np.float16] = DIGITS.data.astype(np.float16)
DIGIT = DIGITS.target
CLASSES = ("even", "small", "three", "never", "always")
Y = np.stack(
    [DIGIT % 2 == 0, DIGIT < 5, DIGIT == 3, np.zeros(len(X)), np.ones(len(X))], axis=1
).astype(np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return 1 / (1 + np.exp(-logits))


def test_each_class_is_learned_beside_the_others() -> None:
    rows = np.random.default_rng(0).permutation(len(X))
    head = fit_labels(FitData.of(X[rows[:300]], Y[rows[:300]], CLASSES, seed=0))
    logits = head.logits(X[rows[300:]])
    truth = Y[rows[300:]] > 0.5

    assert head.kind == "labels"
    assert head.classes == CLASSES
    agreement = ((logits > 0) == truth).mean(axis=0)
    assert (agreement > (0.85, 0.8, 0.95, 0.99, 0.99)).all()
    # Probabilities are right on average.
    assert np.abs(sigmoid(logits).mean(axis=0) - truth.mean(axis=0)).max() < 0.03
    assert np.isneginf(logits[:, 3]).all()
    assert (sigmoid(logits[:, 4]) > 0.99).all()


def test_the_optimum_is_scikit_learns() -> None:
    rows = np.random.default_rng(0).permutation(len(X))[:300]
    head = fit_labels(FitData.of(X[rows], Y[rows], CLASSES, seed=0))
    penalty = float(head.arrays()["penalty"][0])
    ours = normalise(X, float(head.arrays()["power"][0])).astype(np.float64)
    ours /= np.sqrt(np.square(ours[rows] - ours[rows].mean(axis=0)).sum(axis=1).mean())
    for index in range(3):
        theirs = LogisticRegression(C=1 / (penalty * 300), max_iter=10_000, tol=1e-7)
        theirs.fit(ours[rows], Y[rows, index])
        expected = theirs.predict_proba(ours)[:, 1]
        assert np.abs(sigmoid(head.logits(X)[:, index]) - expected).mean() < 0.003


def test_what_nobody_said_teaches_nothing() -> None:
    rows = np.random.default_rng(1).permutation(len(X))[:200]
    y = Y[rows].copy()
    y[100:, 0] = np.nan
    # What isn't known of "even" is not taken for odd: as likely as among the known rows.
    head = fit_labels(FitData.of(X[rows], y, CLASSES, seed=0))
    assert abs(sigmoid(head.logits(X)[:, 0]).mean() - Y[:, 0].mean()) < 0.1

    y[:, 0] = np.nan
    assert np.isneginf(fit_labels(FitData.of(X[rows], y, CLASSES, seed=0)).logits(X)[:, 0]).all()
    with pytest.raises(ValueError, match="at least one label"):
        fit_labels(FitData.of(X[:3], np.full((3, 5), np.nan), CLASSES, seed=0))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_rows_gives_a_head(count: int) -> None:
    head = fit_labels(FitData.of(X[:count], Y[:count], CLASSES, seed=0))
    logits = head.logits(X)

    assert not np.isnan(logits).any()
    assert np.isfinite(logits[:, Y[:count].any(axis=0)]).all()


def test_many_classes_of_one_label_each() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 64)).astype(np.float32)
    head = fit_labels(FitData.of(x, np.eye(1000), tuple(map(str, range(1000))), seed=0))

    assert np.isfinite(head.logits(x)).all()
    assert np.mean(head.logits(x).argmax(axis=1) == np.arange(1000)) > 0.9


def test_same_bits_again_and_after_storing() -> None:
    arguments = (X[:150], Y[:150], CLASSES)
    head = fit_labels(FitData.of(*arguments, seed=0))
    again = fit_labels(FitData.of(*arguments, seed=0))
    stored = head_from_arrays(head.kind, head.classes, head.arrays())

    assert again.logits(X).tobytes() == head.logits(X).tobytes()
    assert stored.logits(X).tobytes() == head.logits(X).tobytes()


def test_a_warm_start_and_given_settings_meet_the_same_optimum() -> None:
    cold = fit_labels(FitData.of(X[:200], Y[:200], CLASSES, seed=0))
    earlier = fit_labels(FitData.of(X[:150], Y[:150, :3], CLASSES[:3], seed=0))
    warm = fit_labels(
        FitData.of(X[:200], Y[:200], CLASSES, seed=0, warm_start=earlier, settings_of=cold)
    )

    difference = sigmoid(warm.logits(X)) - sigmoid(cold.logits(X))
    assert np.abs(difference).mean() < 0.003


def test_near_duplicates_do_not_weaken_the_penalty() -> None:
    rows = np.tile(np.random.default_rng(1).permutation(len(X))[:60], 5)
    x = X[rows] + np.random.default_rng(0).normal(scale=0.05, size=(300, 64))
    told = fit_labels(FitData.of(x, Y[rows], CLASSES, seed=0, groups=np.tile(np.arange(60), 5)))
    untold = fit_labels(FitData.of(x, Y[rows], CLASSES, seed=0))

    assert told.arrays()["penalty"][0] > untold.arrays()["penalty"][0]
