"""Losses: the log-loss of calibrated probabilities, bounded; of numbers the error."""

import numpy as np
import pytest

from model.heads import FitData, fit, fit_labels, fit_number
from model.targets.calibrated_labels import CalibratedLabels
from model.targets.kind import kind_of
from model.targets.number import CalibratedNumber
from model.targets.schema import MultiLabel, Number, SingleLabel, TargetSchema, Value
from model.targets.single import CalibratedHead

RNG = np.random.default_rng(0)
KINDS = SingleLabel(("no", "yes"))
X = RNG.normal(size=(60, 8))


def losses(
    schema: TargetSchema, learned: object, outputs: np.ndarray, truth: list[Value], unit: float = 1
) -> np.ndarray:
    return kind_of(schema).losses(schema, learned, outputs, truth, unit=unit)


def test_of_one_class_it_is_the_log_of_the_truth() -> None:
    y = (X[:, 0] > 0).astype(int)
    learned = CalibratedHead(fit(FitData.of(X, y, ("no", "yes"), seed=0)), 2.0)
    outputs = learned.head.logits(X)
    truth = ["yes" if value else "no" for value in y]
    p = learned.probabilities(X)[np.arange(60), y]
    np.testing.assert_allclose(losses(KINDS, learned, outputs, truth), -np.log(p), rtol=1e-5)
    unknown = losses(KINDS, learned, outputs, ["maybe"] * 60)
    np.testing.assert_allclose(unknown, -np.log(0.01))


def test_of_several_classes_it_is_the_mean_over_them() -> None:
    y = (X[:, :2] > 0).astype(float)
    learned = CalibratedLabels(fit_labels(FitData.of(X, y, ("a", "b"), seed=0)), 1.0, tree=False)
    outputs = learned.head.logits(X)
    truth = [frozenset(name for name, has in zip("ab", row, strict=True) if has) for row in y]
    p = learned.probabilities(X)
    expected = -np.log(np.clip(np.where(y == 1, p, 1 - p), 0.01, 0.99)).mean(axis=1)
    np.testing.assert_allclose(
        losses(MultiLabel(("a", "b")), learned, outputs, truth), expected, rtol=1e-5
    )


def test_of_a_number_it_is_the_error_in_units() -> None:
    learned = CalibratedNumber(fit_number(FitData.of(X, X[:, 0], seed=0)), 0.5)
    outputs = np.array([[1.0], [2.0], [100.0]])
    assert losses(Number(), learned, outputs, [2.0] * 3, unit=0.5) == pytest.approx([2, 0, 10])
