"""Intervals of differences between two groups."""

import numpy as np
import pytest

from model.statistics.group_comparison import LEAST, difference_of_shares, time_saved
from model.statistics.intervals import wilson_interval


def test_the_interval_of_saved_time_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        helped = rng.lognormal(np.log(3), 0.6, 60)
        alone = rng.lognormal(np.log(5), 0.6, 20)
        saved = time_saved(helped, alone)
        covered += saved.low <= 2 <= saved.high
    assert 0.92 < covered / 400 < 0.98
    assert time_saved(np.ones(LEAST - 1), np.ones(50)) is None


def test_newcombes_example() -> None:
    # 56 of 70 against 48 of 80: 0.2, 0.0524 to 0.3339 (Newcombe 1998, table II).
    found = difference_of_shares(
        wilson_interval(np.arange(70) < 56), wilson_interval(np.arange(80) < 48)
    )
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
