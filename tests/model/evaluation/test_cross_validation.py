"""Evaluation: out-of-fold answers are honest, and intervals hold what they say."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from model.evaluation.cross_validation import out_of_fold_logits
from model.heads import FitData, fit
from model.statistics.folds import grouped_folds
from model.statistics.intervals import wilson_interval

DIGITS = load_digits()
X = DIGITS.data.astype(np.float16)
Y = DIGITS.target
CLASSES = tuple("0123456789")


def test_folds_keep_groups_together_and_classes_even() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 120, 300)
    y = groups % 4
    folds = grouped_folds(y, groups, 5, seed=0)

    assert set(folds) == set(range(5))
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    shares = np.array([np.bincount(y[folds == fold], minlength=4) for fold in range(5)])
    assert (shares.max(axis=0) - shares.min(axis=0)).max() <= 6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_there_are_no_more_folds_than_groups(count: int) -> None:
    folds = grouped_folds(np.zeros(9, int), np.arange(9) % count, 5, seed=0)

    assert set(folds) == set(range(count))


@pytest.mark.parametrize("labels", [30, 60, 200])
def test_out_of_fold_accuracy_is_what_unseen_images_get(labels: int) -> None:
    estimated, true = [], []
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(Y))
        rows, rest = order[:labels], order[labels:]
        logits = out_of_fold_logits(FitData.of(X[rows], Y[rows], CLASSES, groups=rows, seed=seed))
        estimated.append(np.mean(logits.argmax(axis=1) == Y[rows]))
        head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=seed))
        true.append(np.mean(head.logits(X[rest]).argmax(axis=1) == Y[rest]))

    # A fold's head has a fifth fewer labels, so that the estimate is low rather than high.
    chance = 2 * (0.25 / (6 * labels)) ** 0.5
    assert np.mean(true) - 0.08 - chance < np.mean(estimated) < np.mean(true) + chance


def test_copies_of_an_image_do_not_answer_for_each_other() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(40, 32)), 5, axis=0)
    y = np.repeat(rng.integers(0, 2, 40), 5)  # nothing to learn but the copies
    groups = np.repeat(np.arange(40), 5)
    together = out_of_fold_logits(FitData.of(x, y, ("a", "b"), groups=groups, seed=0))
    apart = out_of_fold_logits(FitData.of(x, y, ("a", "b"), groups=np.arange(200), seed=0))

    assert np.mean(together.argmax(axis=1) == y) < 0.75
    assert np.mean(apart.argmax(axis=1) == y) > 0.95


@pytest.mark.parametrize("others", [3, 30])
def test_the_only_member_of_a_class_is_never_right(others: int) -> None:
    rows = np.concatenate([np.nonzero(c == Y)[0][:others] for c in (0, 1)] + [[np.argmax(Y == 2)]])
    logits = out_of_fold_logits(FitData.of(X[rows], Y[rows], CLASSES, groups=rows, seed=0))

    assert logits[-1].argmax() != 2
    assert np.isneginf(logits[-1, 2])
    assert logits.shape == (len(rows), 10)


def test_one_group_cannot_be_evaluated() -> None:
    with pytest.raises(ValueError, match="two groups"):
        out_of_fold_logits(FitData.of(X[:5], Y[:5], CLASSES, groups=np.zeros(5), seed=0))


def test_many_rows_share_one_strength_and_give_the_same_bits_again() -> None:
    rows = np.random.default_rng(0).permutation(len(Y))[:1200]
    first, second = (
        out_of_fold_logits(FitData.of(X[rows], Y[rows], CLASSES, groups=rows, seed=0)).tobytes()
        for _ in range(2)
    )

    assert first == second


def test_the_interval_is_wilsons() -> None:
    # Newcombe, Statistics in Medicine 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for right, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        result = wilson_interval(np.arange(n) < right)
        assert (result.value, result.n) == (right / n, n)
        assert (round(result.low, 4), round(result.high, 4)) == (low, high)


def test_all_right_leaves_doubt_below_and_none_above() -> None:
    result = wilson_interval(np.ones(30, bool))

    assert result.high == 1.0
    assert 0.85 < result.low < 0.9
    assert wilson_interval(np.ones(30, bool), level=0.8).low > result.low


def test_no_answers_have_no_accuracy() -> None:
    with pytest.raises(ValueError, match="unknown"):
        wilson_interval(np.zeros(0, bool))
