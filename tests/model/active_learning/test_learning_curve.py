"""What more labels would bring, whether versions agree, and whether choosing pays."""

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from model.active_learning.learning_curve import fit_curve, labels_for, measure, sizes_of
from model.active_learning.strategy_comparison import LEAST_RANDOM, compare_arms
from model.active_learning.version_agreement import kappa, stable
from model.targets.kind import kind_of
from model.targets.schema import Number, Value


def curve_of(accuracy: list[float], sizes: tuple[int, ...], images: int = 4000):
    """Each image is right from some size on, as models that grow are."""
    hardness = (np.arange(images) + 0.5) / images
    right = np.array([hardness < share for share in accuracy])
    return fit_curve(sizes, right, seed=0)


def test_the_curve_tells_the_gain_of_a_power_law() -> None:
    sizes = (30, 50, 80, 120, 180, 270)
    truth = [0.95 - 1.2 * n**-0.5 for n in sizes]
    curve = curve_of(truth, sizes)
    assert curve is not None
    gain = curve.gain(270, 100)
    expected = 1.2 * (270**-0.5 - 370**-0.5)
    assert gain.low <= expected <= gain.high
    assert gain.value == pytest.approx(expected, abs=0.003)
    assert curve.limit().value == pytest.approx(0.95, abs=0.02)


def test_it_says_how_many_labels_a_goal_takes_or_that_it_is_out_of_reach() -> None:
    sizes = (30, 50, 80, 120, 180, 270)
    curve = curve_of([0.95 - 1.2 * n**-0.5 for n in sizes], sizes)
    assert curve is not None
    missing = 1.2 * (270**-0.5 - 1000**-0.5)
    assert labels_for(curve.rise, 270, missing) == pytest.approx(1000, rel=0.25)
    assert labels_for(curve.rise, 270, 0.5) is None
    assert labels_for(curve.rise, 270, 0.0) == 270


def test_a_flat_curve_promises_nothing() -> None:
    curve = curve_of([0.9] * 4, (40, 60, 90, 135))
    assert curve is not None
    assert curve.gain(135, 100).value == pytest.approx(0, abs=0.002)
    assert labels_for(curve.rise, 135, 0.02) is None


def test_it_is_never_above_one() -> None:
    curve = curve_of([0.8, 0.9, 0.96, 0.99], (40, 60, 90, 135))
    assert curve is not None
    assert curve.limit().high <= 1
    assert curve.gain(135, 100).high <= 0.011 + 0.02


def test_too_few_labels_have_no_curve() -> None:
    assert sizes_of(40) == ()
    assert sizes_of(100) == (29, 44, 66, 100)
    assert fit_curve((10, 20), np.ones((2, 5), np.bool_), seed=0) is None


def test_each_model_is_asked_only_what_it_has_not_seen() -> None:
    order, folds = np.random.default_rng(0).permutation(90), np.arange(90) % 3
    asked = np.arange(0, 90, 2)
    seen = []

    def answers(training: np.ndarray, rows: np.ndarray) -> np.ndarray:
        assert not set(folds[training]) & set(folds[rows])
        seen.append(len(training))
        return rows % 4 == 0

    sizes, right = measure(answers, order, folds, asked)
    assert right.shape == (len(sizes), 45)
    assert (right == (asked % 4 == 0)).all()
    assert sizes == tuple(int(size * 2 / 3) for size in sizes_of(90))
    assert len(seen) == 3 * len(sizes)


def equal(first: list[Value], second: list[Value]) -> np.ndarray:
    return np.array([a == b for a, b in zip(first, second, strict=True)])


def test_kappa_is_one_for_equal_answers_and_none_by_chance() -> None:
    rng = np.random.default_rng(0)
    first, second = (list(map(str, rng.integers(0, 3, 3000))) for _ in range(2))
    assert kappa(first, first, equal) == 1
    assert kappa(first, second, equal) == pytest.approx(0, abs=0.05)
    assert kappa(["a"] * 5, ["a"] * 5, equal) == 1
    sets = [frozenset("a"), frozenset("b")]
    assert kappa(sets, sets, equal) == 1
    with pytest.raises(ValueError, match="same images"):
        kappa(["a"], [], equal)


def test_kappa_of_classes_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 300)
    second = np.where(rng.random(300) < 0.6, first, rng.integers(0, 5, 300))
    expected = cohen_kappa_score(first, second)
    assert kappa(first.tolist(), second.tolist(), equal) == pytest.approx(expected)


def test_kappa_of_numbers_counts_near_ones_as_equal() -> None:
    first = [float(value) for value in range(100)]
    second = [value + 0.4 for value in first]
    near = partial(kind_of(Number()).agrees, Number(), tolerance=0.5)
    assert kappa(first, second, equal) == pytest.approx(0, abs=0.02)
    assert kappa(first, second, near) == 1


def test_it_is_stable_after_three_that_agree() -> None:
    assert stable([0.7, 0.99, 0.995, 1.0])
    assert not stable([0.99, 0.98, 1.0])
    assert not stable([1.0, 1.0])


@pytest.mark.parametrize(("worth", "pays"), [(0.5, True), (-0.5, False), (0.0, None)])
def test_arms_are_told_apart_when_they_differ(worth: float, pays: bool | None) -> None:
    rng = np.random.default_rng(3)
    common, chosen, random = np.arange(20), np.arange(20, 220), np.arange(220, 300)

    def losses(training: np.ndarray, asked: np.ndarray) -> np.ndarray:
        share = np.isin(training, chosen).mean()
        return 1 - worth * share + rng.normal(scale=0.3, size=len(asked))

    arms = compare_arms(losses, common, chosen, random, seed=0)
    assert arms is not None
    assert arms.pays is pays
    assert (arms.gain.n, arms.labels) == (80, 40)


def test_few_random_picks_tell_nothing() -> None:
    rows = np.arange(LEAST_RANDOM - 1)
    assert compare_arms(lambda a, b: np.zeros(len(b)), rows, rows, rows, seed=0) is None


def test_where_all_is_drawn_the_chosen_ones_are_compared_all_the_same() -> None:
    common, chosen, random = np.arange(20), np.arange(20, 80), np.arange(100, 400)

    def losses(training: np.ndarray, asked: np.ndarray) -> np.ndarray:
        assert np.isin(training, chosen).sum() in (0, 60)
        assert len(training) == 80
        assert not np.isin(training, asked).any()
        return np.where(np.isin(training, chosen).any(), 0.5, 1.0) + asked / 1e6

    arms = compare_arms(losses, common, chosen, random, seed=0)
    assert arms is not None
    assert (arms.gain.n, arms.labels, arms.pays) == (300, 60, True)
    assert compare_arms(losses, common, chosen[:19], random, seed=0) is None
