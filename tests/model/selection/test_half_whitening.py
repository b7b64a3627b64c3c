"""Half-whitened embeddings: what all images share outweighs the rest less."""

import numpy as np
import pytest

from model.arrays import Float32s
from model.selection.geometry import COMPONENTS, half_whitened


def shared_and_telling(rows: int = 400, dim: int = 80) -> Float32s:
    """Rows whose first number varies ten times as much as the second, and the rest hardly."""
    rng = np.random.default_rng(0)
    x = rng.normal(scale=0.01, size=(rows, dim))
    x[:, 0] = rng.normal(scale=10, size=rows)
    x[:, 1] = rng.normal(size=rows)
    return x.astype(np.float32)


def test_a_component_keeps_the_root_of_its_deviation() -> None:
    half = half_whitened(shared_and_telling(), np.random.default_rng(1))
    deviations = np.sort(half.std(axis=0))[::-1]

    assert deviations[:2] == pytest.approx([10**0.5, 1], rel=0.15)
    assert half.mean(axis=0) == pytest.approx(np.zeros(half.shape[1]), abs=1e-3)


def test_what_hardly_varies_is_left_out() -> None:
    assert half_whitened(shared_and_telling(), np.random.default_rng(1)).shape == (400, 2)


def test_there_are_no_more_components_than_wanted() -> None:
    x = np.random.default_rng(2).normal(size=(300, 200)).astype(np.float32)
    assert half_whitened(x, np.random.default_rng(3)).shape == (300, COMPONENTS)


@pytest.mark.parametrize(("rows", "dim"), [(1, 8), (3, 4), (5, 500), (30, 1)])
def test_few_or_equal_rows_are_taken(rows: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    for x in (np.ones((rows, dim), np.float32), rng.normal(size=(rows, dim)).astype(np.float32)):
        half = half_whitened(x, rng)
        assert len(half) == rows
        assert np.isfinite(half).all()
