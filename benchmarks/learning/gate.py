"""Measures the gate's errors on pairs of models of known difference.

    python -m benchmarks.learning.gate [--cases 100] [--seed 1]

Five overlapping clusters in 32 dimensions, so that the true accuracy can be measured on 20,000
images. The served model is a linear discriminant fitted on some labels; a candidate is fitted on
fewer of them, on partly wrong ones, or on partly others. It counts as equal within 0.3 points of
the served one's true accuracy, and as worse when it is 4.7 to 5.3 points below. Each pair is judged
once, on 400 images. No accuracy of the pair is looked at but the true one.
"""

import argparse
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.evaluation.paired_tests import Verdict, compare
from model.statistics.calibration import fit_temperature, softmax

CLASSES = tuple("abcde")
DIM = 32
HELD_OUT = 400
TRUTH_ROWS = 20_000
EQUAL, WORSE = (-0.003, 0.003), (-0.053, -0.047)
BAR_REFUSED, BAR_PASSED = 98, 93  # of 100
SETTINGS = ((0.45, 300), (0.35, 400), (0.6, 150))  # spread of the centres, labels
KINDS = ("fewer labels", "wrong labels", "other labels")

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Discriminant:
    """A linear discriminant with its temperature."""

    weight: Floats
    bias: Floats
    temperature: float = 1.0

    def probabilities(self, x: Floats) -> NDArray[np.float32]:
        return softmax(x @ self.weight + self.bias, temperature=self.temperature)


class World:
    """Where images and labels come from."""

    def __init__(self, spread: float, labels: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.centres = self.rng.normal(size=(len(CLASSES), DIM)) * spread
        self.labels = labels
        self.check = self.draw(300)
        self.truth = self.draw(TRUTH_ROWS)

    def draw(self, n: int) -> tuple[Floats, Ints]:
        y = self.rng.integers(0, len(CLASSES), n)
        return self.centres[y] + self.rng.normal(size=(n, DIM)), y

    def fit(self, x: Floats, y: Ints) -> Discriminant:
        means = np.stack([x[y == c].mean(axis=0) for c in range(len(CLASSES))])
        covariance = np.cov((x - means[y]).T) + 0.1 * np.eye(DIM)
        weight = np.linalg.solve(covariance, means.T)
        bias = -0.5 * (means.T * weight).sum(axis=0)
        held, truth = self.check
        return Discriminant(weight, bias, fit_temperature(held @ weight + bias, truth))

    def accuracy(self, model: Discriminant) -> float:
        x, y = self.truth
        return float(np.mean(model.probabilities(x).argmax(axis=1) == y))

    def candidate(self, kind: str, x: Floats, y: Ints) -> Discriminant:
        """Fitted on labels `x`, `y` of which some are replaced, made wrong or left out."""
        much = self.rng.random()
        if kind == "fewer labels":
            kept = int(len(y) * (1 - 0.75 * much))
            more, truth = self.draw(len(y) // 10)
            return self.fit(np.concatenate([x[:kept], more]), np.concatenate([y[:kept], truth]))
        if kind == "wrong labels":
            wrong = self.rng.random(len(y)) < 0.5 * much
            return self.fit(x, np.where(wrong, self.rng.integers(0, len(CLASSES), len(y)), y))
        others = 1 + int(0.3 * self.rng.random() * len(y))
        more, truth = self.draw(others)
        wrong = self.rng.random(len(y) - others) < 0.4 * much
        mixed = np.where(wrong, self.rng.integers(0, len(CLASSES), len(wrong)), y[others:])
        return self.fit(np.concatenate([x[others:], more]), np.concatenate([mixed, truth]))


@dataclass
class Counts:
    """Verdicts on pairs of one kind."""

    passed: list[bool] = field(default_factory=list)
    by_answers: list[bool] = field(default_factory=list)  # when the losses aren't looked at
    disagreement: list[float] = field(default_factory=list)


def judge(
    world: World, served: Discriminant, candidate: Discriminant
) -> tuple[Verdict, Verdict, float]:
    """The verdict, the one without losses, and how often the two disagree."""
    x, y = world.draw(HELD_OUT)
    of_both = [model.probabilities(x) for model in (served, candidate)]
    correct = [p.argmax(axis=1) == y for p in of_both]
    loss = [-np.log(np.maximum(p[np.arange(len(y)), y], 0.01)) for p in of_both]
    whole = compare(*correct, y, CLASSES, served_loss=loss[0], candidate_loss=loss[1])
    answers = compare(*correct, y, CLASSES)
    return whole, answers, float(np.mean(of_both[0].argmax(axis=1) != of_both[1].argmax(axis=1)))


def pairs(world: World, kind: str) -> Iterator[tuple[float, Discriminant, Discriminant]]:
    """(true gain, served, candidate) without end."""
    while True:
        x, y = world.draw(world.labels)
        served = world.fit(x, y)
        before = world.accuracy(served)
        for _ in range(6):
            candidate = world.candidate(kind, x, y)
            yield world.accuracy(candidate) - before, served, candidate


def run(spread: float, labels: int, kind: str, cases: int, seed: int) -> tuple[Counts, Counts]:
    """The verdicts on `cases` equal candidates, and on as many that are five points worse."""
    world = World(spread, labels, seed)
    equal, worse = Counts(), Counts()
    for gain, served, candidate in pairs(world, kind):
        if len(equal.passed) == len(worse.passed) == cases:
            break
        for counts, (low, high) in ((equal, EQUAL), (worse, WORSE)):
            if low <= gain <= high and len(counts.passed) < cases:
                whole, answers, disagreement = judge(world, served, candidate)
                counts.passed.append(whole.accepted)
                counts.by_answers.append(answers.accepted)
                counts.disagreement.append(disagreement)
    return equal, worse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    cases = asked.cases
    print(f"{platform.platform()}; numpy {np.__version__}; {cases} cases each; seed {asked.seed}")
    refused, passed = [], []
    for spread, labels in SETTINGS:
        for kind in KINDS:
            equal, worse = run(spread, labels, kind, cases, asked.seed)
            passed.append(100 * np.mean(equal.passed))
            refused.append(100 * (1 - np.mean(worse.passed)))
            print(
                f"{labels} labels, {kind}: 5 points worse refused {refused[-1]:.0f} "
                f"(by answers alone {100 * (1 - np.mean(worse.by_answers)):.0f}; they disagree on "
                f"{np.mean(worse.disagreement):.1%}), equal passed {passed[-1]:.0f} (by answers "
                f"alone {100 * np.mean(equal.by_answers):.0f}; {np.mean(equal.disagreement):.1%})",
                flush=True,
            )
    print(
        f"of 100: worse refused {np.mean(refused):.1f} (least {min(refused):.0f}, bar "
        f"{BAR_REFUSED}), equal passed {np.mean(passed):.1f} (least {min(passed):.0f}, bar "
        f"{BAR_PASSED})"
    )


if __name__ == "__main__":
    main()
