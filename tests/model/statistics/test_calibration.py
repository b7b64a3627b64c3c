"""Calibration: one temperature, found where there is evidence and else left alone."""

import numpy as np
import pytest

from model.statistics.calibration import (
    calibration_error,
    fit_sigmoid_temperature,
    fit_temperature,
    sigmoid,
    softmax,
)


def drawn(
    n: int, temperature: float, *, classes: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the truths drawn by them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, classes)).astype(np.float32)
    p = softmax(logits)
    y = np.array([rng.choice(classes, p=row / row.sum()) for row in p.astype(np.float64)])
    return logits * np.float32(temperature), y


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 6.0])
def test_the_temperature_is_found(temperature: float) -> None:
    logits, y = drawn(4000, temperature)

    assert fit_temperature(logits, y) == pytest.approx(temperature, rel=0.06)


def test_it_lowers_the_log_loss_of_other_rows() -> None:
    logits, y = drawn(300, 4.0)
    others, truth = drawn(3000, 4.0, seed=1)
    found = fit_temperature(logits, y)

    def log_loss(temperature: float) -> float:
        p = softmax(others, temperature=temperature)[np.arange(len(truth)), truth]
        return float(-np.log(p).mean())

    assert log_loss(found) < log_loss(1.0) - 0.3
    assert log_loss(found) < log_loss(4.0) + 0.01


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_handful_of_rows_says_nothing(n: int) -> None:
    logits, y = drawn(n or 1, 3.0)

    assert fit_temperature(logits[:n], y[:n]) == 1.0


def test_ten_rows_that_are_all_right_do_not_make_it_certain() -> None:
    logits = np.eye(2, dtype=np.float32)[np.arange(10) % 2] * 4

    assert fit_temperature(logits, np.arange(10) % 2) > 0.5


def test_ten_rows_that_are_all_wrong_make_it_doubt_within_bounds() -> None:
    logits = np.eye(2, dtype=np.float32)[np.arange(10) % 2] * 50

    assert 2 < fit_temperature(logits, 1 - np.arange(10) % 2) <= 20


def test_rows_of_a_class_that_no_fold_had_are_left_out() -> None:
    logits, y = drawn(1000, 2.0)
    expected = fit_temperature(logits, y)
    unseen = np.full((50, 5), -np.inf, np.float32)
    unseen[:, 0] = 3
    broken = np.full((5, 5), np.nan, np.float32)
    found = fit_temperature(
        np.concatenate([logits, unseen, broken]), np.concatenate([y, np.full(55, 4)])
    )

    assert found == pytest.approx(expected, rel=1e-3)


def test_softmax_gives_minus_infinity_no_share() -> None:
    p = softmax(np.array([[0.0, -np.inf, 0.0], [700.0, 0.0, -700.0]], np.float16))

    assert p.dtype == np.float32
    np.testing.assert_allclose(p, [[0.5, 0, 0.5], [1, 0, 0]], atol=1e-6)


def test_sigmoids_have_a_temperature_of_their_own() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(2000, 4)).astype(np.float32)
    y = (rng.random(logits.shape) < sigmoid(logits)).astype(float)
    y[rng.random(y.shape) < 0.3] = np.nan
    logits[0] = -np.inf

    assert fit_sigmoid_temperature(logits * 3, y) == pytest.approx(3, rel=0.06)
    assert fit_sigmoid_temperature(logits[:4], y[:4]) == 1
    np.testing.assert_allclose(sigmoid(np.array([-np.inf, 0, 500])), [0, 0.5, 1])


@pytest.mark.parametrize("n", [400, 2000])
def test_a_perfect_model_has_less_calibration_error_than_its_bins_have_noise(n: int) -> None:
    rng = np.random.default_rng(0)
    debiased, plain = [], []
    for _ in range(50):
        p = rng.beta(4, 2, n)
        right = rng.random(n) < p
        debiased.append(calibration_error(p, right))
        bins = np.array_split(np.argsort(p), 15)
        plain.append(np.mean([abs(right[b].mean() - p[b].mean()) for b in bins]))

    assert np.mean(debiased) < 0.65 * np.mean(plain)


def test_real_calibration_error_is_found_as_it_is() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(4, 2, 3000)
    right = rng.random(3000) < p - 0.15

    assert calibration_error(p, right) == pytest.approx(0.15, abs=0.02)
    assert np.isnan(calibration_error(p[:0], right[:0]))
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0
