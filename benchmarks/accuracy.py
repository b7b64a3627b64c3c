"""Compares our suggestions with scikit-learn's LogisticRegressionCV on the same embeddings.

Without a server: the learn job's own functions, on the 2,000 textile images, labels at random.
"""

import hashlib
import importlib.resources
import math
import statistics
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegressionCV
from threadpoolctl import threadpool_limits

from backend.demo.dataset import CONTROL
from backend.demo.textiles import CLASSES, FOLDER, PACKAGE, TEXTILES
from benchmarks.support.harness import Options
from benchmarks.support.report import OUT, Bar, Outcome
from model.embedding import embed_stream, open_embedder
from services.training.train import train
from services.training.training_set import TrainingSet
from store.tasks.units import UnitId
from studio.config import LabelConfig, parse_label_config
from studio.images.decoding import decode
from studio.images.policy import ImagePolicy

SIZES = (20, 60, 100, 200, 300)
BACKBONE = "bundled:lite0"


def run(options: Options) -> Outcome:
    """Mean difference over seeds and sizes, in points; ours minus theirs."""
    sizes = SIZES[:2] if options.quick else SIZES
    seeds = range(options.count(10, 2))
    x, y, keys, space = embedded()
    config = parse_label_config(TEXTILES.label_config)
    rows = {}
    differences: dict[int, list[float]] = {}
    for size in sizes:
        ours, theirs = [], []
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(len(x))
            known, rest = order[:size], order[size:]
            ours.append(_ours(x, y, keys, space, config, known, rest, seed))
            theirs.append(_theirs(x, y, known, rest))
        differences[size] = [(a - b) * 100 for a, b in zip(ours, theirs, strict=True)]
        rows[f"{size} labels"] = {
            "ours": _mean(ours),
            "theirs": _mean(theirs),
            "difference, points": round(statistics.mean(differences[size]), 2),
            "standard error": round(
                statistics.stdev(differences[size]) / math.sqrt(len(differences[size])), 2
            ),
        }
        print(f"  {size} labels: {rows[f'{size} labels']}", flush=True)
    everything = [value for values in differences.values() for value in values]
    worst = min(sizes, key=lambda size: statistics.mean(differences[size]))
    note = f"{len(seeds)} seeds each; textile, {space}"
    return Outcome(
        [
            Bar(
                "accuracy minus LogisticRegressionCV's, mean",
                "least",
                -1,
                statistics.mean(everything),
                "points",
                note,
            ),
            Bar(
                f"the same where it is worst, at {worst} labels",
                "least",
                -1,
                statistics.mean(differences[worst]),
                "points",
            ),
        ],
        rows,
    )


def _mean(values: list[float]) -> str:
    return f"{statistics.mean(values):.1%}"


def _ours(
    x: npt.NDArray[np.float16],
    y: npt.NDArray[np.int64],
    keys: list[str],
    space: str,
    config: LabelConfig,
    known: npt.NDArray[np.int64],
    rest: npt.NDArray[np.int64],
    seed: int,
) -> float:
    data = TrainingSet(
        tasks=known.astype(np.int64),
        image_keys=[keys[row] for row in known],
        x=x[known],
        labels={UnitId(int(row)): {CONTROL: CLASSES[y[row]]} for row in known},
        holdout=frozenset(),
        space=space,
    )
    predictor = train(data, config, seed=seed, served=None).predictor(space)
    control = config.control(CONTROL)
    assert control is not None, "the demo's label config has it"
    suggested = [control.read(s.result) for s in predictor.suggest(config, x[rest], 0.0)]
    truth = [CLASSES[y[row]] for row in rest]
    return float(np.mean(np.array(suggested) == np.array(truth)))


def _theirs(
    x: npt.NDArray[np.float16],
    y: npt.NDArray[np.int64],
    known: npt.NDArray[np.int64],
    rest: npt.NDArray[np.int64],
) -> float:
    model = LogisticRegressionCV(cv=5, max_iter=1000, l1_ratios=(0.0,), use_legacy_attributes=False)
    wide = x.astype(np.float64)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # a class of fewer than five labels, at 20
        model.fit(wide[known], y[known])
        return float(model.score(wide[rest], y[rest]))


def embedded() -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64], list[str], str]:
    """Embeddings [N, D], classes [N], image keys and space of the images; kept in `out`."""
    OUT.mkdir(exist_ok=True)
    embedder = open_embedder(BACKBONE, device="cpu", cache_dir=OUT / "backbones")
    space = embedder.key
    kept = OUT / f"textile-{space.replace(':', '-')}.npz"
    if not kept.exists():
        root = Path(str(importlib.resources.files(PACKAGE))) / FOLDER
        listed = [
            (path, code) for code, name in enumerate(CLASSES) for path in _images(root / name)
        ]
        policy = ImagePolicy()
        files = [path.read_bytes() for path, _ in listed]
        stream = embed_stream(
            embedder, enumerate(files), lambda data: decode(data, policy), workers=4
        )
        found: dict[int, npt.NDArray[np.float16]] = {}
        for row, vector in stream:
            if isinstance(vector, Exception):
                raise vector
            found[row] = vector
        np.savez(
            kept,
            x=np.stack([found[row] for row in range(len(files))]),
            y=np.array([code for _, code in listed]),
            keys=np.array([hashlib.sha256(data).hexdigest() for data in files]),
        )
    embedder.close()
    with np.load(kept) as arrays:
        return arrays["x"], arrays["y"], arrays["keys"].tolist(), space


def _images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))
