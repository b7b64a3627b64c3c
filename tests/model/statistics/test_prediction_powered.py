"""The interval of an accuracy by draws and predictions: fair bets, coverage at every look."""

import numpy as np
import pytest

from model.arrays import Floats
from model.statistics.prediction_powered import PoolDraws, accuracy_interval, log_wealth

STRATA = np.array([0.5, 0.3, 0.15, 0.05])  # shares of one pool
RIGHT = np.array([0.99, 0.95, 0.75, 0.4])  # how often the model is right there
ACCURACY = float(STRATA @ RIGHT)
OVERCONFIDENT = RIGHT**3 / (RIGHT**3 + (1 - RIGHT) ** 3)


def draws_of(stratum: Floats, right: Floats) -> PoolDraws:
    """Draws from one pool of a thousand images that nothing else is known of."""
    count = len(right)
    return PoolDraws(
        images=1000,
        shares=STRATA[None],
        open=np.array([1000.0]),
        known_right=np.array([0.0]),
        pool=np.zeros(count, np.intp),
        stratum=np.asarray(stratum, np.intp),
        right=np.asarray(right, np.bool_),
    )


def drawn(rng: np.random.Generator, count: int) -> PoolDraws:
    stratum = rng.choice(len(STRATA), count, p=STRATA)
    return draws_of(stratum, rng.random(count) < RIGHT[stratum])


@pytest.mark.parametrize("seed", range(8))
def test_bets_against_the_truth_are_fair_whatever_is_predicted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.random(len(STRATA)), rng.random(len(STRATA))
    expected = sum(
        STRATA[stratum]
        * (truth[stratum] if right else 1 - truth[stratum])
        * np.exp(log_wealth(draws_of([stratum], [right]), predicted, float(STRATA @ truth)))
        for stratum in range(len(STRATA))
        for right in (False, True)
    )
    assert expected == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("predicted", [RIGHT, OVERCONFIDENT, 1 - RIGHT], ids=["", "over", "wrong"])
def test_the_truth_is_covered_at_every_look(predicted: Floats) -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(60):
        found = drawn(rng, 60)
        missed += any(
            log_wealth(draws_of(found.stratum[:n], found.right[:n]), predicted, ACCURACY)
            >= np.log(20)
            for n in (3, 6, 10, 15, 20, 30, 45, 60)
        )
    assert missed <= 7  # 3 are expected at most; 8 and more come once in a hundred times


def test_good_predictions_make_it_narrower_and_bad_ones_dont_make_it_wrong() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for _ in range(8):
        found = drawn(rng, 50)
        intervals = [accuracy_interval(found, p) for p in (RIGHT, np.full(4, 0.5), 1 - RIGHT)]
        assert all(each.low <= each.value <= each.high for each in intervals)
        widths.append([each.high - each.low for each in intervals])
    good, none, wrong = np.median(widths, axis=0)
    assert good < 0.9 * none < wrong


def test_an_interval_is_where_the_wealth_stays_below_its_limit() -> None:
    found = drawn(np.random.default_rng(3), 40)
    interval = accuracy_interval(found, RIGHT)
    limit = np.log(20)
    grid = np.linspace(0.001, 0.999, 100)
    bounds = np.array([interval.low, interval.high])
    grid = grid[np.abs(grid - bounds[:, None]).min(axis=0) > 1e-3]  # they are rounded
    holds = np.array([log_wealth(found, RIGHT, m) < limit for m in grid])
    inside = (grid > interval.low) & (grid < interval.high)
    assert (holds == inside).all()


@pytest.mark.parametrize("count", [1, 2, 25])
@pytest.mark.parametrize("predicted", [RIGHT, np.zeros(4), np.ones(4)], ids=["", "0", "1"])
def test_all_right_and_all_wrong(count: int, predicted: Floats) -> None:
    stratum = np.arange(count) % 4
    right = accuracy_interval(draws_of(stratum, np.ones(count)), predicted)
    wrong = accuracy_interval(draws_of(stratum, np.zeros(count)), predicted)
    assert wrong.low == 0 <= wrong.value <= wrong.high
    assert right.low <= right.value <= right.high == 1
    if count == 25:
        assert wrong.high < 0.35
        assert right.low > 0.65


def test_without_draws_everything_is_possible() -> None:
    interval = accuracy_interval(draws_of([], []), RIGHT)
    assert (interval.low, interval.high, interval.n) == (0, 1, 0)
    assert interval.value == pytest.approx(ACCURACY)


def test_what_is_known_of_the_other_images_bounds_it() -> None:
    shares = np.array([[0.6, 0.4], [0.8, 0.2]])
    found = PoolDraws(
        images=100,
        shares=shares,
        open=np.array([80.0, 50.0]),
        known_right=np.array([10.0, 15.0]),
        pool=np.array([0, 1, 1]),
        stratum=np.array([0, 1, 0]),
        right=np.array([True, False, True]),
    )
    interval = accuracy_interval(found, np.array([0.9, 0.5]))
    assert 0.15 <= interval.low < interval.value < interval.high <= 0.65
    assert log_wealth(found, np.array([0.9, 0.5]), 0.7) == np.inf
