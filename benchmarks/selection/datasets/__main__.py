"""Prints the sets: images, classes, and how much of the test set a head on all labels gets right.

    python -m benchmarks.selection.datasets [NAME …]

Needs what `benchmarks.selection.curves` needs, and npm for sets that aren't in benchmarks/out yet.
The head is logistic, on the answers of all of the pool; a quarter is tested on, seeds 0 to 2.
"""

import argparse
import sys

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.selection.datasets.catalogue import DEVELOP, NAMES, SOURCES, load
from benchmarks.selection.datasets.dataset import Dataset, split
from model.heads import FitData, fit

SEEDS = 3


def accuracies(data: Dataset) -> list[float]:
    """Of a head on the whole pool, for each seed."""
    found = []
    for seed in range(SEEDS):
        parts = split(data, seed=seed)
        x = np.asarray(parts.x, np.float32)
        head = fit(FitData.of(x, parts.y, parts.classes, seed=seed), kind="logistic")
        right = head.logits(parts.test_x).argmax(axis=1) == parts.test_y
        found.append(float(right.mean()))
    return found


def peculiarities(data: Dataset) -> str:
    """What isn't plain about a set."""
    sizes = np.bincount(data.y)
    found = []
    if sizes.max() >= 5 * sizes.min():
        found.append(f"classes of {sizes.max()} to {sizes.min()}")
    if (wrong := (data.answers != data.y).mean()) > 0:
        found.append(f"{wrong:.0%} of the answers wrong")
    if (groups := len(np.unique(data.groups))) < len(data.y):
        found.append(f"{groups} groups of near duplicates")
    return ", ".join(found)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help="of sets; all without any")
    print("| set | for | images | classes | accuracy | peculiar | images are from |")
    print("|---|---|---|---|---|---|---|")
    for name in parser.parse_args().names:
        data = load(name)
        with threadpool_limits(2, "blas"):
            right = np.mean(accuracies(data))
        purpose = "developing" if name in DEVELOP else "kept aside"
        print(
            f"| {name} | {purpose} | {len(data.y):,} | {len(np.unique(data.y))} | {right:.1%} "
            f"| {peculiarities(data)} | {SOURCES[name].images} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
