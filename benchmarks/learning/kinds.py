"""Compares all kinds of heads, and the chosen kind, on the same embeddings and labels.

    python -m benchmarks.learning.kinds [--seeds 10] [--sets digits …] [--labels 100 500]
        [--per-class 2 5 10 20]

Needs the extra `worker` and what the data sets need (`benchmarks.selection.datasets`). Labels are
drawn at random and accuracy is that on all other images. `auto` stands for the kind that
`model.evaluation.head_selection` takes.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.selection import datasets
from model.evaluation.head_selection import select
from model.heads import FitData, fit
from model.heads.registry import HEADS


def compare(
    name: str, x: NDArray[np.float16], y: NDArray[np.intp], labels: int, seeds: int
) -> dict[str, float]:
    """The mean accuracy of each kind, and of `auto`."""
    classes = tuple(str(c) for c in range(int(y.max()) + 1))
    right: dict[str, list[float]] = {kind: [] for kind in HEADS.names()}
    chosen: list[str] = []
    seconds: list[float] = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(y))
        known, rest = order[:labels], order[labels:]
        for kind, shares in right.items():
            head = fit(FitData.of(x[known], y[known], classes, seed=seed), kind=kind)
            shares.append(float(np.mean(head.logits(x[rest]).argmax(axis=1) == y[rest])))
        start = time.process_time()
        chosen.append(select(FitData.of(x[known], y[known], classes, seed=seed)).kind)
        seconds.append(time.process_time() - start)
    means = {kind: float(np.mean(shares)) for kind, shares in right.items()}
    auto = float(np.mean([right[kind][seed] for seed, kind in enumerate(chosen)]))
    best = max(means, key=lambda kind: means[kind])
    table = ", ".join(f"{kind} {share:.1%}" for kind, share in means.items())
    counts = ", ".join(f"{kind} {chosen.count(kind)}" for kind in sorted(set(chosen)))
    print(
        f"{name}, {labels} labels: auto {auto:.1%} ({100 * (auto - means[best]):+.1f} points from "
        f"{best}, the best; took {counts}; {np.mean(seconds):.1f} s of CPU); {table}",
        flush=True,
    )
    return means | {"auto": auto}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=["digits", "textiles"], choices=datasets.NAMES)
    parser.add_argument("--labels", type=int, nargs="*", default=[100, 500])
    parser.add_argument("--per-class", type=int, nargs="*", default=[], help="instead of --labels")
    options = parser.parse_args()
    sizes = options.per_class or options.labels
    with threadpool_limits(1, "blas"):
        for size in sizes:
            found = []
            for name in options.sets:
                known = datasets.load(name)
                labels = size * (int(known.y.max()) + 1) if options.per_class else size
                found.append(compare(name, known.x, known.y, labels, options.seeds))
            means = {kind: np.mean([each[kind] for each in found]) for kind in found[0]}
            table = ", ".join(f"{kind} {share:.1%}" for kind, share in means.items())
            print(f"{size} labels{' a class' * bool(options.per_class)}, mean: {table}", flush=True)


if __name__ == "__main__":
    main()
