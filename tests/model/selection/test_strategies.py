"""Strategies: each chooses what it says, from any pool, for any kind of control."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from model.heads import FitData, Head, fit
from model.selection import ShortlistRequest, finite_rows, rows_by, shortlist
from model.selection.auto import scheduled
from model.selection.class_balance import rarity
from model.selection.geometry import duplicate_threshold
from model.selection.registry import STRATEGIES, Pool
from model.statistics.calibration import softmax
from tests.support.shortlists import cold_start

Floats = NDArray[np.float32]
ALL = STRATEGIES.names()


def blobs(sizes: list[int], dim: int = 48, seed: int = 0) -> tuple[Floats, NDArray[np.intp]]:
    """Rows around as many centres as sizes are given, and which centre each has."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), dim)) * 3
    label = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[label] + rng.normal(size=(len(label), dim))).astype(np.float32), label


def asking(head: Head) -> Callable[[NDArray[np.floating]], tuple[Floats, ...]]:
    return lambda x: (softmax(head.logits(x)),)


def learned(x: Floats, label: NDArray[np.intp], rows: list[int], seed: int = 0) -> Pool:
    """What is left of the images once these rows are labelled, and a head fitted on them."""
    classes = tuple(str(code) for code in range(int(label.max()) + 1))
    head = fit(FitData.of(x[rows], label[rows], classes, seed=0))
    free = np.setdiff1d(np.arange(len(x)), rows)
    return Pool(x[free], asking(head)(x[free]), seed, x[rows], asking(head))


@pytest.mark.parametrize("name", ALL)
def test_every_strategy_fills_a_batch_without_asking_twice(name: str) -> None:
    x, label = blobs([60, 60, 60])
    pool = learned(x, label, [0, 1, 70, 130])
    avoid = np.array([3, 50])
    chosen = rows_by(name, pool, 25, avoid)

    assert len(chosen) == len(set(chosen.tolist())) == 25
    assert not set(chosen.tolist()) & {3, 50}
    assert chosen.tolist() == rows_by(name, pool, 25, avoid).tolist()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", [0, 1, 4])
def test_every_strategy_takes_all_of_a_pool_smaller_than_the_batch(name: str, count: int) -> None:
    x, label = blobs([4, 4])
    pool = learned(x, label, [0, 1, 4, 5])
    small = Pool(pool.x[:count], (pool.probabilities[0][:count],), 0, pool.labelled, pool.predict)

    assert sorted(rows_by(name, small, 10)) == list(range(count))


@pytest.mark.parametrize("name", ALL)
def test_every_strategy_bears_images_that_are_all_equal(name: str) -> None:
    x, label = blobs([10, 10])
    head = fit(FitData.of(x, label, ("a", "b"), seed=0))
    for same in (np.zeros((30, 48), np.float32), np.ones((30, 48), np.float32)):
        pool = Pool(same, asking(head)(same), 0, same[:5], asking(head))

        assert len(set(rows_by(name, pool, 12).tolist())) == 12
        assert len({*rows_by(name, pool, 12, np.array([2, 7])).tolist()} - {2, 7}) == 12


@pytest.mark.parametrize("name", ALL)
def test_every_strategy_begins_where_nothing_is_predicted(name: str) -> None:
    x, _ = blobs([40, 40])

    chosen = rows_by(name, Pool(x, (), 0), 10, np.array([7]))
    assert len(set(chosen.tolist()) - {7}) == 10


@pytest.mark.parametrize("name", ALL)
def test_every_strategy_offers_only_one_of_many_copies(name: str) -> None:
    x, label = blobs([30, 30])
    pool = learned(
        np.concatenate([x, np.repeat(x[:1], 300, axis=0)]),
        np.append(label, [0] * 300),
        [1, 2, 31, 32],
    )
    chosen = rows_by(name, pool, 12)
    copies = np.flatnonzero(np.all(pool.x == x[0], axis=1))

    assert len(np.intersect1d(chosen, copies)) <= 1


@pytest.mark.parametrize("name", ALL)
def test_every_strategy_works_for_several_controls_of_any_kind(name: str) -> None:
    x, label = blobs([50, 50, 50])
    head = fit(FitData.of(x[::5], label[::5], ("a", "b", "c"), seed=0))

    def ask(rows: NDArray[np.floating]) -> tuple[Floats, ...]:
        single = softmax(head.logits(rows))
        multi = np.stack([single[:, 0], 1 - single[:, 0]], axis=1)
        number = np.full((len(rows), 2), 0.5, np.float32)  # as sure of all
        return single, multi, number

    pool = Pool(x, ask(x), 0, x[:4], ask)

    assert len(set(rows_by(name, pool, 20).tolist())) == 20


def test_doubt_of_several_controls_is_the_mean_of_what_is_unusual_in_each() -> None:
    x = np.zeros((4, 2), np.float32)
    first = np.array([[0.5, 0.5], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    second = np.array([[0.99, 0.01], [0.99, 0.01], [0.97, 0.03], [0.99, 0.01]])
    alone, both = Pool(x, (first,), 0).uncertainty, Pool(x, (first, second), 0).uncertainty

    assert alone[0] == 1.0
    assert alone[2] == alone[3]
    assert both[2] == pytest.approx(both[0])  # each stands out as much in its own control
    assert both[1] == both[3] < both[2]


@pytest.mark.parametrize("name", ["herding", "margin", "badge", "bait", "dropquery", "balanced"])
def test_strategies_that_look_at_predictions_ask_where_classes_meet(name: str) -> None:
    rng = np.random.default_rng(0)
    x, label = blobs([200, 200], seed=1)
    between = (x[:200] + x[200:]) / 2 + rng.normal(size=(200, 48)) * 0.3
    everything = np.concatenate([x, between]).astype(np.float32)
    labels = np.append(label, rng.integers(0, 2, 200))
    pool = learned(everything, labels, [*range(0, 400, 20)])
    chosen = rows_by(name, pool, 30)

    assert np.mean(chosen >= 380) > 0.5  # a third of the pool lies between


@pytest.mark.parametrize("name", ["maxherding", "typiclust"])
def test_strategies_that_cover_turn_to_clusters_without_a_label(name: str) -> None:
    x, label = blobs([100, 100, 100, 100])
    pool = learned(x, label, [*range(10), *range(100, 110)])
    left = np.delete(label, [*range(10), *range(100, 110)])
    chosen = rows_by(name, pool, 2)

    assert sorted(left[chosen]) == [2, 3]


def test_class_balance_weighs_rare_classes_more() -> None:
    x, label = blobs([90, 10], seed=2)
    pool = learned(x, label, [*range(45), 90, 91, 92, 93, 94])
    weight = rarity(pool)
    rare = pool.x.shape[0] - 5

    assert weight[rare:].min() > 3 * weight[:rare].max()


def test_auto_covers_the_pool_until_something_can_be_predicted() -> None:
    x = np.zeros((5, 2), np.float32)

    assert scheduled(Pool(x, (), 0)) == "kmeans"
    assert scheduled(Pool(x, (np.full((5, 2), 0.5),), 0)) == "herding"


def test_a_shortlist_says_which_strategy_auto_stood_for() -> None:
    x, label = blobs([50, 50])
    pool = learned(x, label, [0, 1, 50, 51])
    picks = shortlist(replace(pool, probabilities=()), ShortlistRequest(20))
    others = shortlist(pool, ShortlistRequest(20, "margin"))

    assert {pick.strategy for pick in picks} == {"herding", "random"}
    assert {pick.strategy for pick in others} == {"margin", "random"}
    assert {pick.strategy for pick in cold_start(x, 5, seed=0)} == {"kmeans"}
    with pytest.raises(ValueError, match="heads to predict"):
        shortlist(Pool(x, (), 0), ShortlistRequest(5))


def test_ninety_percent_of_one_class_do_not_hide_the_rest() -> None:
    x, label = blobs([270, 10, 10, 10])
    start = [pick.index for pick in cold_start(x, 20, seed=0)]

    assert set(label[start]) == {0, 1, 2, 3}
    chosen = rows_by("auto", learned(x, label, start), 20)
    assert len(chosen) == 20


def test_features_that_saw_the_labels_do_not_make_a_class_one_image() -> None:
    x, label = blobs([300, 300], dim=200)
    tuned = (100 * np.eye(2, 200)[label] + 0.05 * x).astype(np.float32)
    units = tuned / np.linalg.norm(tuned, axis=1, keepdims=True)

    assert (units[:50] @ units[:50].T).min() > 0.995
    assert duplicate_threshold(tuned) > 0.999
    assert duplicate_threshold(x) == 0.995


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_without_numbers_are_found(dtype: type) -> None:
    x = np.ones((50, 7), dtype)
    x[3, 2], x[4, 6], x[49, 0] = np.nan, np.inf, -np.inf
    x[5] = np.finfo(dtype).max

    assert finite_rows(x).tolist() == [row for row in range(50) if row not in (3, 4, 49)]
    assert finite_rows(x[:0]).tolist() == []
