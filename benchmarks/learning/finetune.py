"""Measures fine-tuning on 1,000 textile images: accuracy, time, and the cost of a kill.

    python -m benchmarks.learning.finetune [--quick] [--labels 1000] [--seed 0]

Of the labels a fifth chooses when to end and how far to go; the 400 are never looked at until the
end. Beside it the logistic head on the frozen features, of all the labels. Killed once half-way
with SIGKILL and started again, so that the minutes hold what that repeats.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from conformal_clip_data import textile_simulated_root
from numpy.typing import NDArray
from PIL import Image

from benchmarks.support.harness import Options as Asked
from benchmarks.support.report import Bar, Outcome, load_average, show
from model.backbones.families.tuned import install
from model.embedding import embed_stream, open_embedder
from model.finetuning import Finetuned, Options, Progress, Target, finetune
from model.heads import FitData, fit

BACKBONE = "bundled:lite0"
TESTED = 400
VALIDATED = 0.2  # of the labels


def drawn(labels: int, seed: int) -> tuple[list[Path], NDArray[np.intp], tuple[str, ...]]:
    """Files and classes of the labelled images, then of those that are tested on."""
    files = sorted(textile_simulated_root().rglob("*.jpg"))
    classes, y = np.unique([path.parent.name for path in files], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(files))[: labels + TESTED]
    return [files[i] for i in order], y[order], tuple(classes.tolist())


def tune(folder: Path, labels: int, seed: int, epochs: float | None, kill_at: float) -> Finetuned:
    """The run in `folder`; at that share of its steps the process kills itself."""
    files, y, classes = drawn(labels, seed)
    told = folder.parent / "told.jsonl"

    def report(progress: Progress) -> None:
        with told.open("a") as file:
            file.write(json.dumps([progress.phase, progress.step, progress.steps]) + "\n")
        if progress.phase == "training" and progress.step >= kill_at * progress.steps:
            os.kill(os.getpid(), signal.SIGKILL)

    return finetune(
        BACKBONE,
        files[:labels],
        lambda path: Image.open(path).convert("RGB"),
        [Target("defect", "single", classes, y[:labels])],
        np.arange(labels) >= labels * (1 - VALIDATED),
        options=Options(seed=seed, epochs=epochs),
        folder=folder,
        report=report,
        stop=lambda: False,
    )


def features(backbone: str, files: list[Path], cache: Path) -> NDArray[np.float16]:
    """Embeddings [N, D] as they are served."""
    embedder = open_embedder(backbone, device="cpu", cache_dir=cache)
    x = np.empty((len(files), embedder.dim), np.float16)
    for row, vector in embed_stream(
        embedder, enumerate(files), lambda path: Image.open(path).convert("RGB"), workers=2
    ):
        if isinstance(vector, Exception):
            raise vector
        x[row] = vector
    embedder.close()
    return x


def accuracy(backbone: str, labels: int, seed: int, cache: Path) -> float:
    """Of a logistic head on this backbone's features of all the labels, on the tested images."""
    files, y, classes = drawn(labels, seed)
    x = features(backbone, files, cache)
    head = fit(FitData.of(x[:labels], y[:labels], classes, seed=seed))
    return float(np.mean(head.logits(x[labels:]).argmax(axis=1) == y[labels:]))


def repeated(told: list[tuple[str, int, int]]) -> float:
    """The share of the steps that was done twice."""
    steps = [(step, of) for phase, step, of in told if phase == "training"]
    twice = len(steps) - len({step for step, _ in steps})
    return twice / steps[0][1]


def run(asked: Asked, labels: int = 1000, seed: int = 0) -> Outcome:
    """The bars of fine-tuning on this machine."""
    labels = asked.count(labels, 60)
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch) / "job", Path(scratch) / "cache"
        epochs = 1 if asked.quick else None
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.learning.finetune", "--killed", str(folder)]
        command += ["--labels", str(labels), "--seed", str(seed)]
        killed = subprocess.run(command + ["--quick"] * asked.quick, check=False)
        tuned = tune(folder, labels, seed, epochs, kill_at=2.0)
        minutes = (time.monotonic() - began) / 60
        lines = (folder.parent / "told.jsonl").read_text().splitlines()
        told = [tuple(json.loads(line)) for line in lines]
        name = install(tuned.path, cache)
        after = accuracy(name, labels, seed, cache)
        frozen = accuracy(BACKBONE, labels, seed, cache)
        twice = 100 * repeated(told)
    return Outcome(
        [
            Bar(f"{labels} textile labels, {TESTED} others right", "least", 99, 100 * after, "%"),
            Bar("in", "most", 15, minutes, "min", "with a kill half-way and the start again"),
            Bar("work repeated after kill -9", "most", 10, twice, "%", f"{killed.returncode=}"),
        ],
        {
            "a head on frozen features, %": round(100 * frozen, 1),
            "method": tuned.method,
            "evaluations": [
                f"step {e.step}, {e.share:.0%} of the way: error {e.error:.3f}, loss {e.loss:.3f}"
                for e in tuned.history
            ],
        },
    )


def main() -> int:
    """1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a try of the script")
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--killed", type=Path, help=argparse.SUPPRESS)  # the run that is killed
    given = parser.parse_args()
    if given.killed:
        epochs = 1 if given.quick else None
        tune(given.killed, given.labels, given.seed, epochs, kill_at=0.5)
        return 1
    before, began = load_average(), time.monotonic()
    outcome = run(Asked(quick=given.quick), given.labels, given.seed)
    show("finetune-quick" if given.quick else "finetune", outcome, before, time.monotonic() - began)
    return 0 if all(bar.met for bar in outcome.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
