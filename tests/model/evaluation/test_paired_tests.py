"""The gate: worse is refused, equal passes, and it says why."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from model.evaluation.paired_tests import compare, worse_by_chance

CLASSES = ("cat", "dog", "bird", "fish", "crab")
Answers = NDArray[np.bool_]


def answers(
    rng: np.random.Generator, *, served: float, drop: float, won: float, n: int = 400
) -> tuple[Answers, Answers]:
    """Who was right on n images: the candidate wins `won` of them and loses `won` + `drop`."""
    outcome = rng.choice(
        4, n, p=[won + drop, won, served - won - drop, 1 - served - won]
    )  # lost, won, both right, both wrong
    return (outcome == 0) | (outcome == 2), (outcome == 1) | (outcome == 2)


def accepted(*, drop: float, won: float, trials: int = 1000) -> float:
    rng = np.random.default_rng(0)
    verdicts = [
        compare(*answers(rng, served=0.88, drop=drop, won=won), rng.integers(0, 5, 400), CLASSES)
        for _ in range(trials)
    ]
    return float(np.mean([verdict.accepted for verdict in verdicts]))


@pytest.mark.parametrize("won", [0.0, 0.01, 0.015, 0.03])
def test_an_equal_candidate_passes(won: float) -> None:
    assert accepted(drop=0, won=won) >= 0.93


@pytest.mark.parametrize("won", [0.0, 0.01, 0.015])
def test_a_candidate_five_points_worse_is_refused(won: float) -> None:
    assert accepted(drop=0.05, won=won) <= 0.02


def test_a_better_candidate_always_passes() -> None:
    assert accepted(drop=-0.03, won=0.05) == 1


def test_real_models_are_told_apart() -> None:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = digits.data[order], digits.target[order]
    held, known = slice(0, 400), slice(400, 1400)
    good = RidgeClassifier().fit(x[known], y[known]).predict(x[held]) == y[held]
    bad = RidgeClassifier().fit(x[known][:40], y[known][:40]).predict(x[held]) == y[held]

    classes = tuple("0123456789")
    assert not compare(good, bad, y[held], classes).accepted
    assert compare(bad, good, y[held], classes).accepted
    assert compare(good, good, y[held], classes).accepted


def test_the_reason_names_both_accuracies() -> None:
    served = np.arange(400) < 360
    candidate = np.arange(400) < 320
    verdict = compare(served, candidate, np.arange(400) % 5, CLASSES)

    assert not verdict.accepted
    assert "80.0% of 400 images" in verdict.reason
    assert "90.0%" in verdict.reason
    assert "40 got lost, 0 were won" in verdict.reason


def test_a_class_that_got_much_worse_is_named_even_if_the_whole_is_no_worse() -> None:
    y = np.repeat(np.arange(5), 80)
    served = np.ones(400, bool)
    served[:80] = np.arange(80) < 40  # half of the cats
    candidate = np.ones(400, bool)
    candidate[80:116] = False  # all of the cats, at the cost of many dogs
    verdict = compare(served, candidate, y, CLASSES)

    assert not verdict.accepted
    assert "'dog' is right on 55% of its 80 images" in verdict.reason
    assert "100%" in verdict.reason


def test_a_few_images_of_a_class_are_no_proof() -> None:
    y = np.concatenate([np.zeros(397, int), [1, 1, 1]])
    served = np.ones(400, bool)
    candidate = served & (np.arange(400) != 399)

    assert compare(served, candidate, y, CLASSES).accepted


def test_without_images_there_is_nothing_against_it() -> None:
    none = np.zeros(0, bool)

    assert compare(none, none, np.zeros(0, int), CLASSES).accepted


def test_the_test_is_mcnemars_mid_p() -> None:
    # One-sided mid-p by hand: P(X > lost) + P(X = lost) / 2 of a fair coin.
    assert worse_by_chance(3, 0) == pytest.approx(1 / 16)
    assert worse_by_chance(0, 0) == 1
    assert worse_by_chance(2, 1) == pytest.approx(1 / 8 + 3 / 16)
    assert worse_by_chance(3000, 2800) == pytest.approx(0.0043, abs=2e-4)
