"""The gate with losses: models that disagree often are told apart by how sure they were."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from model.evaluation.paired_tests import Verdict, compare, larger_by_chance
from model.statistics.calibration import fit_temperature, softmax

CLASSES = tuple("abcde")
DIM, LABELS, HELD_OUT = 32, 300, 400
Floats = NDArray[np.floating]
Model = tuple[Floats, Floats, float]  # weight, bias, temperature


class World:
    """Five overlapping clusters, and linear discriminants fitted on labels of them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.centres = self.rng.normal(size=(5, DIM)) * 0.45
        self.check = self.draw(300)

    def draw(self, n: int) -> tuple[Floats, NDArray[np.intp]]:
        y = self.rng.integers(0, 5, n)
        return self.centres[y] + self.rng.normal(size=(n, DIM)), y

    def fit(self, x: Floats, y: NDArray[np.intp]) -> Model:
        means = np.stack([x[y == c].mean(axis=0) for c in range(5)])
        covariance = np.cov((x - means[y]).T) + 0.1 * np.eye(DIM)
        weight = np.linalg.solve(covariance, means.T)
        bias = -0.5 * (means.T * weight).sum(axis=0)
        held, truth = self.check
        return weight, bias, fit_temperature(held @ weight + bias, truth)

    def judge(self, served: Model, candidate: Model) -> Verdict:
        x, y = self.draw(HELD_OUT)
        correct, loss = [], []
        for weight, bias, temperature in (served, candidate):
            p = softmax(x @ weight + bias, temperature=temperature)
            correct.append(p.argmax(axis=1) == y)
            loss.append(-np.log(np.maximum(p[np.arange(len(y)), y], 0.01)))
        return compare(*correct, y, CLASSES, served_loss=loss[0], candidate_loss=loss[1])


def test_a_model_that_learned_from_fewer_and_wrong_labels_is_refused() -> None:
    """About five points worse, and on one image in six another answer."""
    refused = 0
    for seed in range(50):
        world = World(seed)
        x, y = world.draw(LABELS)
        wrong = np.where(world.rng.random(LABELS) < 0.25, world.rng.integers(0, 5, LABELS), y)
        refused += not world.judge(world.fit(x, y), world.fit(x, wrong)).accepted
    assert refused >= 49


def test_a_model_that_learned_from_other_labels_of_the_same_kind_passes() -> None:
    passed = 0
    for seed in range(100):
        world = World(seed)
        x, y = world.draw(LABELS)
        more, truth = world.draw(30)
        other = world.fit(np.concatenate([x[30:], more]), np.concatenate([y[30:], truth]))
        passed += world.judge(world.fit(x, y), other).accepted
    assert passed >= 93


def test_losses_count_only_against_one_that_is_right_on_fewer_images() -> None:
    served = np.arange(400) % 10 < 7
    as_often = served.copy()
    fewer = served & (np.arange(400) > 0)
    y = np.arange(400) % 5

    def verdict(candidate: NDArray[np.bool_]) -> Verdict:
        losses = {"served_loss": np.full(400, 0.5), "candidate_loss": 0.8 + 0.01 * (y == 1)}
        return compare(served, candidate, y, CLASSES, **losses)

    assert verdict(as_often).accepted
    assert not verdict(fewer).accepted
    assert "less sure of what is true: loss 0.802" in verdict(fewer).reason


def test_losses_that_nobody_knows_count_for_nothing() -> None:
    right = np.ones(400, bool)
    y = np.zeros(400, int)
    unknown = np.full(400, np.nan)
    found = compare(right, right, y, ("a",), served_loss=unknown, candidate_loss=np.ones(400))
    assert found.accepted


def test_the_test_on_losses_is_one_sided() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(0.1, 1, 900)
    expected = ttest_1samp(differences, 0, alternative="greater").pvalue
    assert larger_by_chance(differences) == pytest.approx(expected, rel=0.02)
    assert larger_by_chance(-differences) > 0.99
    assert larger_by_chance(np.zeros(50)) == 1
