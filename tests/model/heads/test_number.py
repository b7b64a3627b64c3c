"""Heads for a number: scikit-learn's ridge, and an error that is told honestly."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from model.heads import FitData, NumberHead, fit_number, head_from_arrays
from model.heads.features import normalise
from model.heads.fitting.least_squares import fit_ridge

DIGITS = load_digits()
X: NDArray[np.float16] = DIGITS.data.astype(np.float16)
# How far right the ink is, 0 to 7: a number that pixels tell, with something they don't.
RNG = np.random.default_rng(0)
INK = DIGITS.images.sum(axis=1)
Y = INK @ np.arange(8) / INK.sum(axis=1) + RNG.normal(scale=0.05, size=len(X))


def test_the_solution_is_scikit_learns() -> None:
    head = fit_number(FitData.of(X[:300], Y[:300], seed=0))
    ours = normalise(X, head.power).astype(np.float64)
    ours /= np.sqrt(np.square(ours[:300] - ours[:300].mean(axis=0)).sum(axis=1).mean())
    theirs = Ridge(alpha=head.penalty * 300).fit(ours[:300], Y[:300])

    np.testing.assert_allclose(head.values(X), theirs.predict(ours), atol=1e-4)
    assert head.values(X).shape == (len(X),)
    assert head.values(X).dtype == np.float32


def test_left_out_errors_are_those_of_fits_without_the_rows() -> None:
    z = RNG.normal(size=(30, 8)).astype(np.float32)
    targets = RNG.normal(size=(30, 2))
    weight = RNG.uniform(0.5, 2, size=30).astype(np.float32)
    groups = np.array([0, 0, 0, 1, 1, *range(2, 27)])
    ridge = fit_ridge(z, targets, weight, groups, penalty=0.3)
    for group in (0, 1, 2, 26):
        out = groups == group
        total = weight.sum(dtype=np.float64)  # the penalty is relative to all rows
        without = Ridge(alpha=0.3 * total).fit(z[~out], targets[~out], sample_weight=weight[~out])
        np.testing.assert_allclose(ridge.left_out[out], without.predict(z[out]), atol=1e-6)


def test_the_reach_covers_what_it_says() -> None:
    rows = np.random.default_rng(0).permutation(len(X))
    covered = {0.5: [], 0.9: []}
    for start in range(0, 1000, 100):
        known = rows[start : start + 100]
        rest = np.setdiff1d(rows, known)
        head = fit_number(FitData.of(X[known], Y[known], seed=0))
        for level, shares in covered.items():
            shares.append(np.mean(np.abs(head.values(X[rest]) - Y[rest]) <= head.reach(level)))

    assert abs(np.mean(covered[0.5]) - 0.5) < 0.05
    assert abs(np.mean(covered[0.9]) - 0.9) < 0.03


def test_near_duplicates_do_not_make_it_look_surer() -> None:
    rows = np.tile(np.random.default_rng(1).permutation(len(X))[:40], 5)
    told = fit_number(FitData.of(X[rows], Y[rows], seed=0, groups=np.tile(np.arange(40), 5)))
    untold = fit_number(FitData.of(X[rows], Y[rows], seed=0))

    assert told.penalty > untold.penalty
    assert told.reach(0.9) > 2 * untold.reach(0.9)


def test_numbers_that_are_no_numbers_are_left_out() -> None:
    y = Y[:100].copy()
    y[::5] = np.nan
    y[1] = np.inf
    known = np.isfinite(y)

    with_gaps = fit_number(FitData.of(X[:100], y, seed=0)).values(X)
    without = fit_number(FitData.of(X[:100][known], y[known], seed=0)).values(X)
    assert with_gaps.tobytes() == without.tobytes()
    with pytest.raises(ValueError, match="at least one label"):
        fit_number(FitData.of(X[:3], np.full(3, np.nan), seed=0))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_does_not_matter(unit: float) -> None:
    head, scaled = (
        fit_number(FitData.of(X[:100], Y[:100] * u + 7 * u, seed=0)) for u in (1.0, unit)
    )

    np.testing.assert_allclose(scaled.values(X), head.values(X) * unit, rtol=1e-4)
    assert scaled.reach(0.8) == pytest.approx(head.reach(0.8) * unit, rel=1e-3)


def test_one_row_and_equal_rows_give_their_number() -> None:
    one = fit_number(FitData.of(X[:1], np.array([4.5]), seed=0))
    equal = fit_number(FitData.of(X[:50], np.full(50, 3.0), seed=0))
    copies = fit_number(FitData.of(X[:9], Y[:9], seed=0, groups=np.zeros(9, int)))

    assert one.values(X) == pytest.approx(4.5)
    assert one.reach(0.5) == np.inf
    assert equal.values(X) == pytest.approx(3.0)
    assert equal.reach(0.9) == 0
    assert np.isfinite(copies.values(X)).all()
    assert copies.reach(0.5) == np.inf


def test_same_bits_again_and_after_storing() -> None:
    head = fit_number(FitData.of(X[:150], Y[:150], seed=0))
    again = fit_number(FitData.of(X[:150], Y[:150], seed=0))
    stored = head_from_arrays(head.kind, head.classes, head.arrays())

    assert isinstance(stored, NumberHead)
    for fitted in (again, stored):
        assert fitted.values(X).tobytes() == head.values(X).tobytes()
        assert fitted.reach(0.9) == head.reach(0.9)
    arrays = head.arrays()
    del arrays["errors"]
    with pytest.raises(ValueError, match="errors"):
        head_from_arrays(head.kind, head.classes, arrays)
