"""Metrics: equal to scikit-learn's, with intervals that hold what they say."""

import json

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_score,
    recall_score,
)

from model.evaluation.metrics import multi_label, numbers, single_label
from model.statistics.intervals import resamples

CLASSES = ("cat", "dog", "fox", "emu")


def guesses(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.7, 0.2, 0.1])  # no emu
    return y, np.where(rng.random(n) < 0.7, y, rng.integers(0, 4, n))


def test_single_labels_are_measured_as_scikit_learn_does() -> None:
    y, predicted = guesses(300)
    found = single_label(y, predicted, CLASSES)
    labels = range(4)

    assert found.accuracy.value == np.mean(y == predicted)
    recalls = recall_score(y, predicted, average=None, labels=labels, zero_division=0)
    assert found.balanced_accuracy.value == pytest.approx(np.mean(recalls[:3]))
    precisions = precision_score(y, predicted, average=None, labels=labels, zero_division=0)
    for index in range(3):
        of_class = found.classes[index]
        assert of_class.recall is not None
        assert of_class.precision is not None
        assert of_class.recall.value == pytest.approx(recalls[index])
        assert of_class.precision.value == pytest.approx(precisions[index])
        assert of_class.recall.low < of_class.recall.value < of_class.recall.high
    np.testing.assert_array_equal(found.confusion, confusion_matrix(y, predicted, labels=labels))


def test_a_class_that_is_never_there_or_never_said_has_no_share() -> None:
    found = single_label(np.array([0, 0, 1]), np.array([0, 3, 1]), CLASSES)

    assert found.classes[2].recall is None
    assert found.classes[2].precision is None
    assert found.classes[3].recall is None
    assert found.classes[3].precision is not None
    assert found.balanced_accuracy.value == 0.75


def test_the_interval_of_balanced_accuracy_covers_it() -> None:
    truth = 0.7 + 0.3 / 4
    covered = 0
    for seed in range(60):
        found = single_label(*guesses(200, seed), CLASSES, seed=seed).balanced_accuracy
        covered += found.low <= truth <= found.high

    assert covered >= 52


def test_rows_of_one_group_are_drawn_together() -> None:
    groups = np.repeat(np.arange(20), 10)
    times = resamples(200, seed=0, groups=groups)
    assert (times.reshape(len(times), 20, 10).std(axis=2) == 0).all()

    y = np.zeros(200, int)
    predicted = np.repeat(np.arange(20) % 2, 10)
    alone, together = (
        single_label(y, predicted, CLASSES, groups=g).balanced_accuracy for g in (None, groups)
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_several_labels_are_measured_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((250, 3)) < [0.5, 0.2, 0.05]).astype(float)
    p = np.clip(y * 0.4 + rng.random((250, 3)) * 0.8, 0, 1).round(1)  # many ties
    found = multi_label(y, p, CLASSES[:3])

    expected = [average_precision_score(y[:, c], p[:, c]) for c in range(3)]
    for c in range(3):
        order = found.classes[c].average_precision
        assert order is not None
        assert order.value == pytest.approx(expected[c])
        assert order.low < order.value < order.high
    assert found.mean_average_precision is not None
    assert found.mean_average_precision.value == pytest.approx(np.mean(expected))
    assert found.exact.value == np.mean(((p >= 0.5) == (y == 1)).all(axis=1))
    assert found.agreement.value == pytest.approx(np.mean((p >= 0.5) == (y == 1)))


def test_what_nobody_knows_is_left_out() -> None:
    y = np.array([[1, np.nan], [0, np.nan], [np.nan, np.nan], [1, 1]])
    p = np.array([[0.9, 0.9], [0.8, 0.1], [0.9, 0.1], [0.9, 0.9]])
    found = multi_label(y, p, CLASSES[:2])

    assert found.agreement.value == 3 / 4
    assert found.agreement.n == 4
    assert found.exact.value == pytest.approx(2 / 3)
    assert found.classes[1].n == 1


def test_a_number_is_measured_in_its_own_unit() -> None:
    y = np.arange(100.0)
    predicted = y + np.tile([2.0, -4.0], 50)
    found = numbers(y, predicted, half_width=3.0)

    assert found.mean_absolute_error.value == pytest.approx(3)
    assert 2.7 < found.mean_absolute_error.low < 3 < found.mean_absolute_error.high < 3.3
    assert found.of_guessing == 25
    assert found.within is not None
    assert found.within.value == 0.5


def test_all_of_it_is_json_and_many_classes_are_cut_to_the_worst() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 200
    predicted = np.where(y < 50, (y + 1) % 200, y)
    plain = single_label(y, predicted, tuple(map(str, range(200)))).plain()
    listed = json.loads(json.dumps(plain))["by_class"]

    assert len(listed) == 100
    assert {int(of_class["name"]) for of_class in listed} >= set(range(50))
    multi = multi_label((rng.random((20, 2)) < 0.5) * 1.0, rng.random((20, 2)), CLASSES[:2])
    json.dumps([multi.plain(), numbers(y * 1.0, predicted * 1.0).plain()], allow_nan=False)


def test_the_same_seed_gives_the_same_interval() -> None:
    first, second = (single_label(*guesses(100), CLASSES, seed=1).plain() for _ in range(2))

    assert first == second
