"""Selection: what is asked next covers the pool, asks nothing twice, and audits itself."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from model.registry import UnknownNameError
from model.selection.registry import STRATEGIES
from tests.support.shortlists import cold_start, shortlist

F16 = NDArray[np.float16]


def blobs(sizes: list[int], dim: int = 64, seed: int = 0) -> tuple[F16, NDArray[np.intp]]:
    """Rows around as many centres as sizes are given, and which centre each has."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), dim)) * 3
    label = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[label] + rng.normal(size=(len(label), dim))).astype(np.float16), label


def confident(n: int, classes: int = 3) -> NDArray[np.float32]:
    p = np.full((n, classes), 0.01, np.float32)
    p[:, 0] = 1 - 0.01 * (classes - 1)
    return p


def indices(picks: list) -> list[int]:
    return [pick.index for pick in picks]


def test_a_cold_start_meets_every_cluster_however_small() -> None:
    x, label = blobs([300, 100, 30, 10, 5])
    picks = cold_start(x, 12, seed=0)

    assert set(label[indices(picks)]) == {0, 1, 2, 3, 4}
    assert {pick.strategy for pick in picks} == {"kmeans"}
    assert {pick.probability for pick in picks} == {None}


def test_the_beginning_of_a_cold_start_covers_the_pool() -> None:
    x, label = blobs([100] * 6)
    first = indices(cold_start(x, 30, seed=1))[:6]

    assert len(set(label[first])) == 6


def test_a_large_pool_is_chosen_from_as_well() -> None:
    x, label = blobs([4000, 2000, 1000], dim=200)
    picks = indices(cold_start(x, 12, seed=0))

    assert len(set(picks)) == 12
    assert set(label[picks]) == {0, 1, 2}


@pytest.mark.parametrize("k", [0, 1, 5, 9])
def test_a_pool_that_is_too_small_gives_all_it_has(k: int) -> None:
    x, _ = blobs([5])

    assert sorted(set(indices(cold_start(x, k, seed=0)))) == sorted(
        indices(cold_start(x, k, seed=0))
    )
    assert len(cold_start(x, k, seed=0)) == min(k, 5)
    assert len(shortlist(x, confident(5), k, seed=0)) == min(k, 5)


def test_an_empty_pool_gives_nothing() -> None:
    x = np.zeros((0, 64), np.float16)

    assert cold_start(x, 10, seed=0) == []
    assert shortlist(x, np.zeros((0, 3)), 10, seed=0) == []


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_images_are_still_handed_out(value: float) -> None:
    x = np.full((40, 64), value, np.float16)

    assert len(set(indices(cold_start(x, 10, seed=0)))) == 10
    assert len(set(indices(shortlist(x, confident(40), 10, seed=0)))) == 10


def test_near_duplicates_are_not_asked_twice() -> None:
    x, _ = blobs([50])
    twice = np.concatenate([x, x * np.float16(1.001)])
    p = confident(100)
    p[:, 0] += np.tile(np.linspace(0, 0.001, 50), 2).astype(np.float32)
    for picks in (
        cold_start(twice, 40, seed=0),
        shortlist(twice, p, 40, seed=0),
        shortlist(twice, p, 40, seed=0, random_share=1.0)[:40],
    ):
        originals = [pick.index % 50 for pick in picks]
        assert len(picks) == 40
        assert len(set(originals)) == 40


def test_many_copies_of_one_image_do_not_hide_the_others() -> None:
    x, _ = blobs([30])
    pool = np.concatenate([np.repeat(x[:1], 900, axis=0), x[1:]])
    p = confident(len(pool))
    p[:900] = 1 / 3  # the copies are what the head is least sure of
    chosen = set(indices(shortlist(pool, p, 20, seed=0, random_share=0)))

    assert len([index for index in chosen if index < 900]) == 1
    assert len(chosen) == 20


def test_a_shortlist_asks_what_is_least_sure_first() -> None:
    x, _ = blobs([200])
    lead = np.random.default_rng(0).permutation(200) / 200
    p = np.stack([(1 + lead) / 2, (1 - lead) / 2], axis=1)
    picks = lead[indices(shortlist(x, p, 10, seed=0, random_share=0, strategy="margin"))]

    assert picks[0] == 0
    assert list(picks) == sorted(picks)
    assert picks[-1] < 0.5


def test_a_shortlist_is_spread_over_clusters() -> None:
    x, label = blobs([100, 100, 100, 100])
    p = confident(400)
    p[label == 0, :2] = [0.49, 0.49]  # the least sure are all in one place
    p[label != 0, :2] = [0.55, 0.43]
    by_margin_alone = np.argsort(p[:, 0] - p[:, 1], kind="stable")[:40]
    picks = indices(shortlist(x, p, 40, seed=0, random_share=0))

    assert set(label[by_margin_alone]) == {0}
    assert set(label[picks]) == {0, 1, 2, 3}


def test_a_tenth_is_drawn_from_everything_and_stands_evenly() -> None:
    x, _ = blobs([500])
    picks = shortlist(x, confident(500), 100, seed=0)
    drawn = [place for place, pick in enumerate(picks) if pick.strategy == "random"]

    assert len(picks) == len(set(indices(picks))) == 100
    assert len(drawn) == 10
    assert {picks[place].probability for place in drawn} == {10 / 500}
    assert {pick.probability for pick in picks if pick.strategy != "random"} == {None}
    assert all(len([place for place in drawn if place < n]) >= n // 10 - 1 for n in range(101))


def test_of_short_lists_too_a_tenth_is_drawn() -> None:
    x, _ = blobs([100])
    picks = [pick for seed in range(200) for pick in shortlist(x, confident(100), 4, seed=seed)]

    assert 50 < sum(pick.strategy == "random" for pick in picks) < 110  # 80 are expected


def test_draws_of_an_earlier_list_come_first_among_the_drawn_ones() -> None:
    x, _ = blobs([200])
    p = confident(200)
    p[[7, 150]] = 1 / 3  # a strategy would like them as well
    picks = shortlist(x, p, 40, seed=0, drawn_before={150: 0.02, 7: None})
    drawn = [pick for pick in picks if pick.strategy == "random"]

    assert [(pick.index, pick.probability) for pick in drawn[:2]] == [(150, 0.02), (7, None)]
    assert len(drawn) == 4
    assert len(set(indices(picks))) == 40
    assert {pick.probability for pick in drawn[2:]} == {2 / 198}


def test_draws_that_find_no_place_are_left_to_the_next_list_not_to_the_strategy() -> None:
    x, _ = blobs([200])
    p = confident(200)
    waiting = dict.fromkeys(range(40, 60), 0.1)
    p[40:60] = 1 / 3  # a strategy would like them
    picks = shortlist(x, p, 40, seed=0, drawn_before=waiting, strategy="margin")
    listed = {pick.index: pick.strategy for pick in picks}

    assert [row for row in listed if row in waiting] == [40, 41, 42, 43]
    assert all(listed[row] == "random" for row in (40, 41, 42, 43))
    assert len(picks) == len(listed) == 40

    rest = shortlist(x[30:62], p[30:62], 40, seed=0, drawn_before=dict.fromkeys(range(10, 30), 0.1))
    assert sorted(indices(rest)) == list(range(32))
    assert {pick.strategy for pick in rest if 10 <= pick.index < 30} == {"random"}


def test_draws_that_are_too_many_wait_and_no_strategy_has_them() -> None:
    x, _ = blobs([200])
    p = confident(200)
    p[:30] = 1 / 3
    waiting = dict.fromkeys(range(30), 0.1)
    picks = shortlist(x, p, 40, seed=0, drawn_before=waiting, strategy="margin")

    assert {pick.index: pick.strategy for pick in picks if pick.index < 30} == dict.fromkeys(
        range(4), "random"
    )
    assert len(set(indices(picks))) == 40

    few = shortlist(x[:50], p[:50], 40, seed=0, drawn_before=waiting)
    assert len(set(indices(few))) == 40  # what else is there doesn't fill the list
    assert {pick.strategy for pick in few if pick.index < 30} == {"random"}


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_what_is_listed_already_is_not_chosen_again_nor_what_looks_like_it(name: str) -> None:
    x, _ = blobs([100])
    twice = np.concatenate([x, x])
    listed = list(range(40))
    for picks in (
        cold_start(twice, 50, seed=0, listed=listed, strategy=name),
        shortlist(twice, confident(200), 50, seed=0, listed=listed, random_share=0, strategy=name),
    ):
        assert len({pick.index % 100 for pick in picks} - {*listed}) == 50

    everything = shortlist(x, confident(100), 100, seed=0, listed=[*listed, *listed])
    assert sorted(indices(everything)) == list(range(40, 100))


def test_a_list_that_is_replaced_after_one_label_is_audited_as_well() -> None:
    x, _ = blobs([100])
    first = [shortlist(x, confident(100), 20, seed=seed)[0].strategy for seed in range(300)]

    assert 15 < first.count("random") < 50  # 30 are expected


def test_the_drawn_ones_are_uniform_whatever_the_head_says() -> None:
    x, _ = blobs([60])
    p = confident(60)
    p[:20] = 1 / 3
    counts = np.zeros(60)
    for seed in range(600):
        for pick in shortlist(x, p, 10, seed=seed):
            counts[pick.index] += pick.strategy == "random"

    # 600 draws of one in sixty: ten each, by chance.
    assert counts.sum() == 600
    assert (((counts - 10) ** 2) / 10).sum() < 98  # 0.1% point of chi squared with 59 degrees


def test_broken_rows_are_never_chosen() -> None:
    x, _ = blobs([40])
    x[::4] = np.nan
    x[1] = np.inf
    p = confident(40)
    p[2] = np.nan
    for picks in (cold_start(x, 40, seed=0), shortlist(x, p, 40, seed=0)):
        assert not {index for index in indices(picks) if index % 4 == 0 or index == 1}
    assert 2 not in indices(shortlist(x, p, 40, seed=0))
    assert len(cold_start(x, 40, seed=0)) == 29


def test_one_class_and_no_class_can_be_chosen_from() -> None:
    x, _ = blobs([40])

    assert len(shortlist(x, np.ones((40, 1)), 10, seed=0)) == 10


def test_the_same_seed_chooses_the_same() -> None:
    x, _ = blobs([100, 100])
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 200)

    assert cold_start(x, 20, seed=7) == cold_start(x, 20, seed=7)
    assert shortlist(x, p, 20, seed=7) == shortlist(x, p, 20, seed=7)
    assert shortlist(x, p, 20, seed=7) != shortlist(x, p, 20, seed=8)


def test_a_strategy_that_does_not_exist_is_answered_with_what_does() -> None:
    x, _ = blobs([10])

    with pytest.raises(UnknownNameError, match="did you mean margin"):
        shortlist(x, confident(10), 5, seed=0, strategy="margins")


def test_choosing_needs_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys, numpy as np;"
        "from model.selection import Pool, ShortlistRequest, cold_start, shortlist;"
        "x = np.eye(20, dtype=np.float16);"
        "cold_start(Pool(x, (), 0), ShortlistRequest(5));"
        "shortlist(Pool(x, (np.ones((20, 2)) / 2,), 0), ShortlistRequest(5));"
        "sys.exit(bool({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
