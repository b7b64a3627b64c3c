"""Compares our heads with scikit-learn's LogisticRegressionCV, and measures fitting time.

    python benchmarks/heads.py [--seeds 10]

Needs the extras `worker` and `dev`. Both get the same EfficientNet-Lite0 embeddings and the same
randomly drawn labels: of the 2,000 textile images (three classes) and of scikit-learn's digits (ten
classes, enlarged). The bar: not more than one point below. The time is of 5,000 rows of 1,280
features in 100 made-up classes, with the choice of the strength; the bar is 2 s.
"""

import argparse
import importlib.metadata
import platform
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from conformal_clip_data import textile_simulated_root
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from threadpoolctl import threadpool_limits

from model.embedding import embed_stream, open_embedder
from model.heads import FitData, fit, fit_labels

LABELS = (20, 50, 100, 300)
BAR_POINTS = 1.0
BAR_SECONDS = 2.0

Images = list[Image.Image]


def textiles() -> tuple[Images, NDArray[np.intp]]:
    files = sorted(textile_simulated_root().rglob("*.jpg"))
    images = [Image.open(path).convert("RGB") for path in files]
    return images, np.unique([path.parent.name for path in files], return_inverse=True)[1]


def digits() -> tuple[Images, NDArray[np.intp]]:
    data = load_digits()
    images = [Image.fromarray((pixels * 15.9).astype(np.uint8)) for pixels in data.images]
    return [image.resize((64, 64)).convert("RGB") for image in images], data.target


def embeddings(images: Images) -> NDArray[np.float16]:
    with tempfile.TemporaryDirectory() as folder:
        embedder = open_embedder("bundled:lite0", device="cpu", cache_dir=Path(folder))
        x = np.empty((len(images), embedder.dim), np.float16)
        for index, row in embed_stream(embedder, enumerate(images), lambda i: i, workers=2):
            x[index] = row
    return x


def scikit_learn(x: NDArray[np.float32], y: NDArray[np.intp]) -> LogisticRegressionCV:
    with warnings.catch_warnings():
        # Classes with fewer labels than folds, and paths that end before they converge.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegressionCV(Cs=10, cv=3, max_iter=300).fit(x, y)


def compare(name: str, x: NDArray[np.float16], y: NDArray[np.intp], seeds: int) -> None:
    classes = tuple(str(c) for c in range(int(y.max()) + 1))
    for labels in LABELS:
        ours, theirs = [], []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(y))
            known, rest = order[:labels], order[labels:]
            head = fit(FitData.of(x[known], y[known], classes, seed=seed))
            ours.append(np.mean(head.logits(x[rest]).argmax(axis=1) == y[rest]))
            model = scikit_learn(x[known].astype(np.float32), y[known])
            theirs.append(model.score(x[rest].astype(np.float32), y[rest]))
        gap = 100 * (np.mean(ours) - np.mean(theirs))
        spread = 100 * np.std(np.subtract(ours, theirs), ddof=1) / seeds**0.5
        print(
            f"{name}, {labels} labels ({head.kind}): ours {np.mean(ours):.1%}, "
            f"LogisticRegressionCV {np.mean(theirs):.1%}, {gap:+.1f} ± {spread:.1f} points "
            f"(bar −{BAR_POINTS})"
        )


def fitting_time() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 100, 5000)
    centres = 0.35 * rng.normal(size=(100, 1280))
    scales = np.exp(-np.arange(1280) / 150)
    x = np.maximum((centres[y] + rng.normal(size=(5000, 1280))) * scales + 1, 0)
    x = x.astype(np.float16)
    classes = tuple(str(c) for c in range(100))
    several = np.eye(100, dtype=np.float32)[y]
    several[np.arange(5000), rng.integers(0, 100, 5000)] = 1
    fit(FitData.of(x[:600], y[:600], classes, seed=0))  # imports and page faults
    for what, fit_all in (
        ("one of 100 classes", lambda: fit(FitData.of(x, y, classes, seed=0))),
        ("several of 100 classes", lambda: fit_labels(FitData.of(x, several, classes, seed=0))),
    ):
        wall, cpu = time.perf_counter(), time.process_time()
        fit_all()
        print(
            f"5,000 x 1,280, {what}: {time.perf_counter() - wall:.2f} s, "
            f"of CPU {time.process_time() - cpu:.2f} s (bar {BAR_SECONDS} s)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    versions = ", ".join(
        f"{package} {importlib.metadata.version(package)}"
        for package in ("scikit-learn", "numpy", "openvino")
    )
    print(f"{platform.platform()}; {versions}; {options.seeds} seeds")
    fitting_time()
    # scikit-learn is several times slower when its threads wait for each other on busy cores.
    with threadpool_limits(1, "blas"):
        for name, dataset in (("textiles", textiles), ("digits", digits)):
            images, y = dataset()
            compare(name, embeddings(images), y, options.seeds)


if __name__ == "__main__":
    main()
