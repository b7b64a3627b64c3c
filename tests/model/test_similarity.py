"""Similar images: the coarse scan finds what an exact one finds."""

import numpy as np
import pytest

from model.similarity import approximate_cosines, cosines, quantise, top_rows


def test_the_coarse_scan_holds_the_exact_best() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_001, 256)).astype(np.float16)  # no structure at all: the hardest case
    codes, scales = quantise(x)
    for row in (0, 777, 20_000):
        exact = set(top_rows(cosines(x, x[row]), 10).tolist())
        found = top_rows(approximate_cosines(codes, scales, x[row]), 210)
        assert exact <= set(found.tolist())
        assert top_rows(cosines(x, x[row]), 1)[0] == row


def test_rows_that_are_no_numbers_are_similar_to_nothing() -> None:
    x = np.ones((5, 8), np.float16)
    x[1], x[2] = np.nan, 0
    x[3] = np.inf
    codes, scales = quantise(x)
    found = approximate_cosines(codes, scales, x[0])
    assert found == pytest.approx([1, 0, 0, 0, 1], abs=1e-3)
    assert cosines(x, x[0]) == pytest.approx([1, -1, 0, -1, 1], abs=1e-3)


def test_fewer_rows_than_wanted_and_none() -> None:
    assert top_rows(np.array([0.5, 0.9], np.float32), 10).tolist() == [1, 0]
    assert len(top_rows(np.empty(0, np.float32), 10)) == 0
    assert len(approximate_cosines(*quantise(np.empty((0, 4))), np.ones(4))) == 0
