"""Measures coverage and width of the audit's confidence interval.

    python -m benchmarks.choosing.audit [--runs 500] [--seed 1]

Simulated projects (`world.py`) of 400 to 3,000 images, 3 to 8 classes of differing difficulty, 100
to 500 labels chosen by margin, a tenth of them drawn. The truth is the version's accuracy on all
images (of labelled ones, that of heads that had not seen the label), and on those still open. What
the labels would say out of fold, were they no biased sample, is shown beside it.
"""

import argparse
import platform

import numpy as np

from benchmarks.choosing.simulated_projects import Simulated
from model.active_learning.accuracy_audit import audit
from model.statistics.intervals import wilson_interval

BAR = 93.0  # % of the runs


def one(seed: int) -> tuple[list[bool], list[float], int]:
    """One project: covered (all, open, naive), widths of the same, and the random picks."""
    rng = np.random.default_rng(seed)
    project = Simulated(
        seed,
        images=int(rng.integers(400, 3000)),
        classes=int(rng.integers(3, 9)),
        spread=float(rng.uniform(0.35, 1.1)),
        noise=float(rng.choice([0.0, 0.1])),
    )
    labels = int(rng.integers(100, min(500, project.images // 2)))
    for _ in project.run(labels):
        pass
    draws, right = project.draws()
    total, labelled = project.images, len(project.labelled)
    found = audit(draws, images=total, labelled=labelled, labelled_right=float(right.sum()))
    rest = project.open
    said, _ = project.answers(rest)
    of_rest = said == project.y[rest]
    truth = (right.sum() + of_rest.sum()) / total
    naive = wilson_interval(right)
    assert found.rest is not None
    pairs = [(found.everything, truth), (found.rest, of_rest.mean()), (naive, truth)]
    covered = [m.low <= t <= m.high for m, t in pairs]
    return covered, [m.high - m.low for m, _ in pairs], len(project.drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print(f"{platform.platform()}; numpy {np.__version__}; {asked.runs} runs; seed {asked.seed}")
    found = [one(asked.seed * 1_000_000 + run) for run in range(asked.runs)]
    covered = 100 * np.mean([c for c, _, _ in found], axis=0)
    width = 100 * np.median([w for _, w, _ in found], axis=0)
    picks = [n for _, _, n in found]
    print(f"random picks: median {np.median(picks):.0f}, {min(picks)} to {max(picks)}")
    names = ("audit, all images", "audit, open images", "all labels out of fold")
    for name, share, wide in zip(names, covered, width, strict=True):
        print(f"{name}: covers {share:.1f}% (bar {BAR}), median width {wide:.1f} points")


if __name__ == "__main__":
    main()
