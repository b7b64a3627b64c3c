"""Replaying labels: rounds are as they were asked for, the same every time, and nothing cheats."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.active_learning.simulation import Asked, Replay, by_name, replay, split
from model.registry import UnknownNameError


def images(count: int = 120, classes: int = 4) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    y = rng.integers(classes, size=count)
    centres = 0.5 * rng.normal(size=(classes, 24))
    return (centres[y] + 0.7 * rng.normal(size=(count, 24))).astype(np.float32), y


def test_a_replay_labels_a_batch_a_round_and_learns() -> None:
    data = split(*images(), seed=0)
    rounds = replay(data, by_name("auto"), batch=4, rounds=6, seed=0)

    assert [done.labels for done in rounds] == [4, 8, 12, 16, 20, 24]
    assert rounds[-1].accuracy > rounds[0].accuracy
    assert rounds[-1].accuracy > 0.8


def test_the_same_seed_replays_the_same_and_a_pool_runs_out() -> None:
    data = split(*images(40), seed=1)
    runs = [replay(data, by_name("margin"), batch=12, rounds=9, seed=3) for _ in range(2)]
    curves = [[(done.labels, done.accuracy) for done in run] for run in runs]

    assert curves[0] == curves[1]
    assert [labels for labels, _ in curves[0]] == [12, 24, 30]


def test_an_arm_may_begin_with_one_strategy_and_go_on_with_another() -> None:
    data = split(*images(), seed=0)
    runs = {
        arm: replay(data, by_name(arm), batch=8, rounds=3, seed=0)
        for arm in ("kmeans+random", "auto", "random")
    }

    assert runs["kmeans+random"][0].accuracy == runs["auto"][0].accuracy
    assert runs["kmeans+random"][1].accuracy != runs["auto"][1].accuracy
    with pytest.raises(UnknownNameError):
        by_name("auto+nothing")


def test_a_chooser_sees_the_labels_it_paid_for_and_no_others() -> None:
    x, y = images()
    data = Replay(x[:90], y[:90], x[90:], y[90:])
    seen: list[int] = []

    def choose(asked: Asked) -> list[int]:
        seen.append(len(asked.y))
        assert len(asked.pool.labelled) == len(asked.y)
        assert len(asked.pool.x) + len(asked.y) == 90
        return list(range(asked.k))

    replay(data, choose, batch=10, rounds=3, seed=0, first=np.arange(5))

    assert seen == [5, 15]
