"""Losses: the log-loss of calibrated probabilities, bounded; of numbers the error."""

import numpy as np
import pytest

from model.heads import fit, fit_labels, fit_number
from model.targets.registry import CalibratedHead, CalibratedLabels, CalibratedNumber, losses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))


def test_of_one_class_it_is_the_log_of_the_truth() -> None:
    y = (X[:, 0] > 0).astype(int)
    learned = CalibratedHead(fit(X, y, ("no", "yes"), seed=0), 2.0)
    outputs = learned.head.logits(X)
    truth = ["yes" if value else "no" for value in y]
    p = learned.probabilities(X)[np.arange(60), y]
    np.testing.assert_allclose(losses(learned, outputs, truth, unit=1), -np.log(p), rtol=1e-5)
    unknown = losses(learned, outputs, ["maybe"] * 60, unit=1)
    np.testing.assert_allclose(unknown, -np.log(0.01))


def test_of_several_classes_it_is_the_mean_over_them() -> None:
    y = (X[:, :2] > 0).astype(float)
    learned = CalibratedLabels(fit_labels(X, y, ("a", "b"), seed=0), 1.0, tree=False)
    outputs = learned.head.logits(X)
    truth = [frozenset(name for name, has in zip("ab", row, strict=True) if has) for row in y]
    p = learned.probabilities(X)
    expected = -np.log(np.clip(np.where(y == 1, p, 1 - p), 0.01, 0.99)).mean(axis=1)
    np.testing.assert_allclose(losses(learned, outputs, truth, unit=1), expected, rtol=1e-5)


def test_of_a_number_it_is_the_error_in_units() -> None:
    learned = CalibratedNumber(fit_number(X, X[:, 0], seed=0), 0.5)
    outputs = np.array([[1.0], [2.0], [100.0]])
    assert losses(learned, outputs, [2.0, 2.0, 2.0], unit=0.5) == pytest.approx([2, 0, 10])
