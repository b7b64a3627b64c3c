"""Compares all kinds of heads, and the chosen kind, on the same embeddings and labels.

    python -m benchmarks.learning.kinds [--seeds 10] [--labels 100 500]

Needs the extras `worker` and `demo`. EfficientNet-Lite0 embeddings of the 2,000 textile images
(three classes) and of scikit-learn's digits (ten classes, enlarged); labels are drawn at random and
accuracy is that on all other images. `auto` stands for the kind that `model.head_choice` takes.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.heads import digits, embeddings, textiles
from model.evaluation.head_selection import select
from model.heads import FitData, fit
from model.heads.registry import HEADS


def compare(
    name: str, x: NDArray[np.float16], y: NDArray[np.intp], labels: int, seeds: int
) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 500])
    options = parser.parse_args()
    with threadpool_limits(1, "blas"):
        for name, dataset in (("digits", digits), ("textiles", textiles)):
            images, y = dataset()
            x = embeddings(images)
            for labels in options.labels:
                compare(name, x, y, labels, options.seeds)


if __name__ == "__main__":
    main()
