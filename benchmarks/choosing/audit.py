"""Measures coverage and width of the audit's confidence interval.

    python -m benchmarks.choosing.audit [--runs 500] [--seed 1] [--accuracies 0.9 0.7 0.98]

Simulated projects (`simulated_projects.py`) of 500 to 3,000 images, 3 to 8 classes of differing
difficulty, labels chosen as by the product, a tenth of them drawn, until there are 25, 50 and 100
random picks, or half of the images are labelled. The classes' distance is such that a model of 500
random labels has the accuracy that is asked for; up to half of the errors are wrong labels. The
truth is the version's accuracy on all images (of labelled ones, that of heads that had not seen the
label), and on those still open. Beside it stand the interval by the same draws without any
confidence, the one by the confidence of an overconfident model (a third of the temperature), the
one by the best confidence, which knows how often the model is right where it is as sure, and what
the labels would say out of fold, were they no biased sample.
"""

import argparse
import platform
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.choosing.simulated_projects import Discriminant, Simulated
from model.active_learning.accuracy_audit import Draws, LabelledImages, audit
from model.statistics.intervals import Estimate, wilson_interval

WIDEST = {25: 22.0, 50: 16.0, 100: 11.0}  # {random picks: points}, medians at 90% accuracy
COVERED = 94.0  # % of the projects
LARGEST = 3_000  # images
OVERCONFIDENT = 1 / 3  # of the temperature
BINS = 16  # of equally sure images

Sure = NDArray[np.floating]


@dataclass(frozen=True)
class Look:
    """What is known and what is true when a project has so many random picks."""

    picks: int
    draws: Draws
    labelled: LabelledImages
    overconfident: Sure  # of the labelled images
    open_sure: Sure
    open_overconfident: Sure
    open_right: NDArray[np.bool_]

    @classmethod
    def at(cls, project: Simulated) -> "Look":
        draws, labelled = project.draws()
        said, open_sure = project.answers(project.open)
        right = said == project.y[project.open]
        calibrated = project.temperature
        project.temperature *= OVERCONFIDENT
        _, overconfident = project.honest()
        _, open_overconfident = project.answers(project.open)
        project.temperature = calibrated
        picks = len(project.drawn)
        return cls(picks, draws, labelled, overconfident, open_sure, open_overconfident, right)

    def truth(self) -> float:
        """The version's accuracy on all images."""
        return float(np.concatenate([self.labelled.right, self.open_right]).mean())

    def intervals(self) -> dict[str, tuple[Estimate, float]]:
        """{what: the interval and the truth}."""
        size = len(self.open_right)
        usual = audit(self.draws, self.labelled, self.open_sure, open_images=size)
        without = audit(self.draws, self.labelled, np.zeros(0), open_images=size)
        boasting = replace(self.labelled, confidence=self.overconfident)
        over = audit(self.draws, boasting, self.open_overconfident, open_images=size)
        best, of_rest = self._best_confidence()
        perfect = replace(self.labelled, confidence=best)
        limit = audit(self.draws, perfect, of_rest, open_images=size)
        truth, of_open = self.truth(), float(self.open_right.mean())
        assert usual.rest is not None
        return {
            "all images": (usual.everything, truth),
            "open images": (usual.rest, of_open),
            "all images, overconfident": (over.everything, truth),
            "all images, without confidence": (without.everything, truth),
            "all images, best confidence": (limit.everything, truth),
            "labels as a sample": (wilson_interval(self.labelled.right > 0.5), truth),
        }

    def _best_confidence(self) -> tuple[Sure, Sure]:
        """How often the model is truly right where it is as sure, of labelled and open images."""
        sure = np.concatenate([self.labelled.confidence, self.open_sure])
        right = np.concatenate([self.labelled.right, self.open_right])
        bins = np.searchsorted(np.quantile(sure, np.arange(1, BINS) / BINS), sure)
        best = (np.bincount(bins, right) / np.maximum(np.bincount(bins), 1))[bins]
        return best[: len(self.labelled.right)], best[len(self.labelled.right) :]


def project_of(seed: int, accuracy: float) -> Simulated:
    """A project in which a model of 500 random labels has about this accuracy."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(500, LARGEST + 1)), int(rng.integers(3, 9))
    noise = float(rng.uniform(0, 0.5)) * (1 - accuracy)
    low, high = 0.1, 2.5
    for _ in range(8):
        spread = (low + high) / 2
        trial = Simulated(seed, LARGEST, classes, spread, noise)
        head = Discriminant.fit(trial.x[:500], trial.y[:500], classes)
        right = head.logits(trial.x[500:]).argmax(axis=1) == trial.y[500:]
        low, high = (spread, high) if right.mean() < accuracy else (low, spread)
    return Simulated(seed, images, classes, spread, noise, relearn=20)


def looks(seed: int, accuracy: float) -> Iterator[Look]:
    """The project at each number of random picks."""
    project = project_of(seed, accuracy)
    last = 0
    for _ in project.run(project.images // 2):
        if len(project.drawn) > last:
            last = len(project.drawn)
            if last in WIDEST:
                yield Look.at(project)
            if last == max(WIDEST):
                return


def report(accuracy: float, runs: int, seed: int) -> None:
    """Print coverage and width at each number of picks."""
    covered: dict[tuple[int, str], list[bool]] = defaultdict(list)
    width: dict[tuple[int, str], list[float]] = defaultdict(list)
    truths: dict[int, list[float]] = defaultdict(list)
    for run in range(runs):
        for look in looks(seed * 1_000_000 + run, accuracy):
            truths[look.picks].append(look.truth())
            for name, (found, truth) in look.intervals().items():
                covered[look.picks, name].append(found.low <= truth <= found.high)
                width[look.picks, name].append(found.high - found.low)
    for (picks, name), values in sorted(covered.items()):
        bar = f" (bar {WIDEST[picks]:.0f} at 90%)" if name == "all images" else ""
        print(
            f"{100 * np.median(truths[picks]):.1f}% right, {picks} picks, {len(values)} projects, "
            f"{name}: covers {100 * np.mean(values):.1f}% (bar {COVERED:.0f}), "
            f"median width {100 * np.median(width[picks, name]):.1f} points{bar}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--accuracies", type=float, nargs="*", default=[0.9, 0.7, 0.98])
    asked = parser.parse_args()
    print(f"{platform.platform()}; numpy {np.__version__}; {asked.runs} runs; seed {asked.seed}")
    for accuracy in asked.accuracies:
        report(accuracy, asked.runs, asked.seed)


if __name__ == "__main__":
    main()
