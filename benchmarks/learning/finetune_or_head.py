"""Compares the published version with the best of all heads and a fine-tuned backbone.

    python -m benchmarks.learning.finetune_or_head [--seeds 5] [--per-class 10 50] [--data digits]

Of scikit-learn's digits (8 × 8 pixels, enlarged) so many a class are labelled; accuracy is that on
the rest. Every kind of head on the frozen features, a head on the fine-tuned features, and `auto`:
the kind that is chosen by cross-validation, and the tuned backbone instead where the policy would
have it tuned and the gate lets it pass on the labels that the tuning did not see.
"""

import argparse
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.heads import digits, embeddings, textiles
from model.backbones.families.tuned import install
from model.embedding import embed_stream, open_embedder
from model.evaluation.head_selection import select
from model.evaluation.paired_tests import compare
from model.finetuning import Options, Target, finetune
from model.heads import FitData, Head, fit
from model.heads.registry import HEADS
from model.statistics.folds import grouped_folds
from services.finetuning.plan import MEASURING_SHARE
from services.finetuning.policy import may_pay

BACKBONE = "bundled:lite0"
FOLDS = 5


@dataclass(frozen=True)
class Data:
    """Images and classes of a set, its frozen features [N, D]."""

    images: list[Image.Image]
    y: NDArray[np.intp]
    x: NDArray[np.float16]

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(str(c) for c in range(int(self.y.max()) + 1))


@dataclass(frozen=True)
class Seed:
    """What one draw of labels gave: accuracy by option."""

    shares: dict[str, float]
    chosen: str
    tried: bool
    seconds: float  # of fine-tuning


def drawn(y: NDArray[np.intp], per_class: int, seed: int) -> NDArray[np.intp]:
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(y == c), per_class, replace=False) for c in np.unique(y)]
    return rng.permutation(np.concatenate(rows))


def right(head: Head, x: NDArray[np.floating], y: NDArray[np.intp]) -> NDArray[np.bool_]:
    hits: NDArray[np.bool_] = head.logits(x).argmax(axis=1) == y
    return hits


def tuned_features(
    data: Data, known: NDArray[np.intp], validation: NDArray[np.bool_], seed: int
) -> NDArray[np.float16]:
    """Features [N, D] of a backbone that was tuned on the known images."""
    with tempfile.TemporaryDirectory() as scratch:
        tuned = finetune(
            BACKBONE,
            [int(row) for row in known],
            lambda row: data.images[row],
            [Target("class", "single", data.classes, data.y[known])],
            validation,
            options=Options(seed=seed),
            folder=Path(scratch) / "job",
            report=lambda progress: None,
            stop=lambda: False,
        )
        cache = Path(scratch) / "cache"
        embedder = open_embedder(install(tuned.path, cache), device="cpu", cache_dir=cache)
        x = np.empty((len(data.images), embedder.dim), np.float16)
        for row, vector in embed_stream(
            embedder, enumerate(data.images), lambda image: image, workers=2
        ):
            x[row] = vector
        embedder.close()
    return x


def once(data: Data, per_class: int, seed: int) -> Seed:
    known = drawn(data.y, per_class, seed)
    rest = np.setdiff1d(np.arange(len(data.y)), known)
    x, y, classes = data.x, data.y, data.classes
    shares = {}
    for kind in HEADS.names():
        head = fit(FitData.of(x[known], y[known], classes, seed=seed), kind=kind)
        shares[kind] = float(right(head, x[rest], y[rest]).mean())
    selection = select(FitData.of(x[known], y[known], classes, seed=seed))
    kind = selection.kind

    folds = grouped_folds(y[known], np.arange(len(known)), FOLDS, seed=seed)
    unseen = np.empty(len(known), np.bool_)  # right, out of fold
    for fold in range(FOLDS):
        inside, outside = known[folds != fold], known[folds == fold]
        head = fit(FitData.of(x[inside], y[inside], classes, seed=seed), kind=kind)
        unseen[folds == fold] = right(head, x[outside], y[outside])

    held = grouped_folds(y[known], np.arange(len(known)), round(1 / MEASURING_SHARE), seed=seed)
    validation = held == 0
    began = time.monotonic()
    tuned = tuned_features(data, known, validation, seed)
    seconds = time.monotonic() - began
    seen, held_out = known[~validation], known[validation]
    trial = fit(FitData.of(tuned[seen], y[seen], classes, seed=seed))
    verdict = compare(
        unseen[validation], right(trial, tuned[held_out], y[held_out]), y[held_out], classes
    )
    head = fit(FitData.of(tuned[known], y[known], classes, seed=seed))
    shares["fine-tuned"] = float(right(head, tuned[rest], y[rest]).mean())
    tried = may_pay(len(known), float(unseen.mean()), BACKBONE, None)
    chosen = "fine-tuned" if tried and verdict.accepted else kind
    return Seed(shares, chosen, tried, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--data", choices=["digits", "textiles"], default="digits")
    asked = parser.parse_args()
    images, y = (digits if asked.data == "digits" else textiles)()
    data = Data(images, y, embeddings(images))
    print(f"{platform.platform()}; torch {torch.__version__}, timm {timm.__version__}")
    for per_class in asked.per_class:
        seeds = []
        for seed in range(asked.seeds):
            seeds.append(once(data, per_class, seed))
            line = ", ".join(f"{name} {share:.1%}" for name, share in seeds[-1].shares.items())
            print(f"  seed {seed}: {line}; published {seeds[-1].chosen}", flush=True)
        means = {name: float(np.mean([s.shares[name] for s in seeds])) for name in seeds[0].shares}
        auto = float(np.mean([s.shares[s.chosen] for s in seeds]))
        best = max(means, key=lambda name: means[name])
        table = ", ".join(f"{name} {share:.1%}" for name, share in means.items())
        print(
            f"{asked.data}, {per_class} labels a class, {len(seeds)} seeds: auto {auto:.1%}, "
            f"{100 * (auto - means[best]):+.1f} points from {best}, the best; {table}; fine-tuning "
            f"tried in {sum(s.tried for s in seeds)}, "
            f"{np.mean([s.seconds for s in seeds]):.0f} s each",
            flush=True,
        )


if __name__ == "__main__":
    main()
