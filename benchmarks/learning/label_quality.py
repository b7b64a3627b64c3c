"""Measures how many planted wrong labels the label quality finds.

    python -m benchmarks.learning.label_quality [--seeds 5] [--labels 300 1000]

Needs the extras `worker` and `dev`. EfficientNet-Lite0 embeddings of the 2,000 textile images
(three classes, of which a head knows only some 75%) and of scikit-learn's digits (ten classes,
enlarged; some 95%). Of the labels 5% are made wrong, to a class drawn at random, or none. A label
is listed when its quality, its calibrated out-of-fold probability, is below the threshold; beside
it the labels that confident learning (cleanlab's `find_label_issues`) lists. `right` is the share
of what is listed that is wrong indeed, `found` the share of the wrong ones that is listed. The
threshold that Apprentice has, `model.label_quality.DOUBTFUL`, is marked.
"""

import argparse
import platform
from collections import defaultdict

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.heads import digits, embeddings, textiles
from model.annotators.label_quality import DOUBTFUL, label_quality
from model.evaluation.cross_validation import out_of_fold_logits
from model.heads import FitData
from model.statistics.calibration import fit_temperature, softmax

THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2)
WRONG = 0.05  # of the labels

Listed = dict[str, NDArray[np.bool_]]


def plant(y: NDArray[np.intp], share: float, classes: int, seed: int) -> NDArray[np.intp]:
    """The labels with a share of them wrong, which ones and to what drawn at random."""
    rng = np.random.default_rng(seed)
    planted = y.copy()
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    planted[rows] = (y[rows] + rng.integers(1, classes, len(rows))) % classes
    return planted


def listed(x: NDArray[np.float16], y: NDArray[np.intp], classes: int, seed: int) -> Listed:
    """Whether each label [N] is listed, by what lists it."""
    names = tuple(str(index) for index in range(classes))
    logits = out_of_fold_logits(FitData.of(x, y, names, groups=np.arange(len(y)), seed=seed))
    p = softmax(logits, temperature=fit_temperature(logits, y))
    quality = label_quality(p, y)
    found = {f"below {limit:g}": quality < limit for limit in THRESHOLDS}
    return found | {"confident learning": find_label_issues(y, p.astype(np.float64), n_jobs=1)}


def measure(
    name: str, x: NDArray[np.float16], y: NDArray[np.intp], labels: int, seeds: int
) -> None:
    classes = int(y.max()) + 1
    counts: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for seed in range(seeds):
        rows = np.random.default_rng(seed).permutation(len(y))[:labels]
        given = plant(y[rows], WRONG, classes, seed)
        wrong = given != y[rows]
        clean = listed(x[rows], y[rows], classes, seed)
        for what, rows_listed in listed(x[rows], given, classes, seed).items():
            hit = int((rows_listed & wrong).sum())
            counts[what].append((hit, int(rows_listed.sum()), int(clean[what].sum())))
    planted = round(WRONG * labels)
    for what, of_seeds in counts.items():
        hits, shown, of_clean = (np.array(column) for column in zip(*of_seeds, strict=True))
        mark = " *" if what == f"below {DOUBTFUL:g}" else ""
        print(
            f"{name}, {labels} labels, {what}{mark}: lists {shown.mean():.1f}, "
            f"right {hits.sum() / max(shown.sum(), 1):.0%}, "
            f"found {hits.mean() / planted:.0%} of {planted}; "
            f"of {labels} right labels it lists {of_clean.mean():.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, nargs="+", default=[300, 1000])
    options = parser.parse_args()
    print(f"{platform.platform()}; numpy {np.__version__}; {options.seeds} seeds")
    with threadpool_limits(1, "blas"):
        for name, dataset in (("digits", digits), ("textiles", textiles)):
            images, y = dataset()
            x = embeddings(images)
            for labels in options.labels:
                measure(name, x, y, labels, options.seeds)


if __name__ == "__main__":
    main()
