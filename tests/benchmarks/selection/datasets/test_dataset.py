"""The variants of a benchmark's data set, and its split."""

import numpy as np

from benchmarks.selection.datasets.dataset import Dataset, split, tail_sizes, with_wrong_answers
from model.active_learning import simulation

ROWS = 600


def plain() -> Dataset:
    x = np.arange(ROWS, dtype=np.float16)[:, None]
    return Dataset.of("plain", x, np.arange(ROWS) % 6)


def test_a_plain_set_is_split_as_the_simulation_splits() -> None:
    data = plain()
    ours, theirs = split(data, seed=7), simulation.split(data.x, data.y, seed=7)
    for name in ("x", "y", "test_x", "test_y"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_group_is_on_one_side_of_the_split() -> None:
    data = Dataset.of("films", plain().x, plain().y, groups=np.arange(ROWS) // 25)
    parts = split(data, seed=0)
    pool, test = (set(x[:, 0].astype(int) // 25) for x in (parts.x, parts.test_x))
    assert pool.isdisjoint(test)
    assert len(pool | test) == 24
    assert len(test) == 6


def test_only_answers_of_the_pool_are_wrong() -> None:
    data = with_wrong_answers(plain(), "wrong", 0.1)
    assert (data.answers != data.y).sum() == ROWS // 10
    assert set(data.answers) == set(data.y)
    parts = split(data, seed=0)
    np.testing.assert_array_equal(parts.test_y, parts.test_x[:, 0].astype(int) % 6)
    assert 0.05 < (parts.y != parts.x[:, 0].astype(int) % 6).mean() < 0.15


def test_sizes_of_a_long_tail_fall_geometrically() -> None:
    assert tail_sizes(3, 400, 100) == [400, 40, 4]
    assert min(tail_sizes(30, 20, 50)) == 1
