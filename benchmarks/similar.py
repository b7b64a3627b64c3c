"""Measures speed and recall of the search for similar images among a million.

    python -m benchmarks.similar [ROWS]

Rows are drawn around 2,000 centres with as much noise, and once without any structure, which is
the hardest case: then the nearest are hardly nearer than the rest. The files lie in the page cache.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.similarity import approximate_cosines, cosines, quantise, top_rows

WIDTH = 1280
QUERIES = 20
COUNT = 10
SPARE = 200
PART = 20_000


def rows_of(kind: str, start: int, count: int) -> NDArray[np.float16]:
    """Embeddings [count, WIDTH], the same for the same place."""
    rng = np.random.default_rng([start, kind == "clustered"])
    x = rng.standard_normal((count, WIDTH), np.float32)
    if kind == "clustered":
        centres = np.random.default_rng(1).standard_normal((2_000, WIDTH), np.float32)
        x += centres[rng.integers(0, len(centres), count)]
    return x.astype(np.float16)


def measure(kind: str, total: int, folder: Path) -> dict[str, float]:
    """Seconds a query (of the clock and of all processors) and recall, of `total` rows."""
    with (folder / "x").open("wb") as exact, (folder / "codes").open("wb") as coarse:
        all_scales = []
        for start in range(0, total, PART):
            x = rows_of(kind, start, min(PART, total - start))
            codes, scales = quantise(x)
            exact.write(x.tobytes())
            coarse.write(codes.tobytes())
            all_scales.append(scales)
    x = np.memmap(folder / "x", np.float16, "r", shape=(total, WIDTH))
    codes = np.memmap(folder / "codes", np.int8, "r", shape=(total, WIDTH))
    scales = np.concatenate(all_scales)
    queries = np.array(x[np.random.default_rng(0).integers(0, total, QUERIES)])
    truth = exact_best(x, queries)
    approximate_cosines(codes, scales, queries[0])  # the page cache
    seconds, hits = [], 0
    worked = time.process_time()
    for query, wanted in zip(queries, truth, strict=True):
        began = time.perf_counter()
        candidates = top_rows(approximate_cosines(codes, scales, query), COUNT + SPARE)
        found = candidates[top_rows(cosines(x[candidates], query), COUNT)]
        seconds.append(time.perf_counter() - began)
        hits += len({*found.tolist()} & {*wanted.tolist()})
    return {
        "p50": round(float(np.median(seconds)), 3),
        "worst": round(max(seconds), 3),
        "processor": round((time.process_time() - worked) / QUERIES, 3),
        "recall": hits / (QUERIES * COUNT),
    }


def exact_best(x: NDArray[np.float16], queries: NDArray[np.float16]) -> NDArray[np.intp]:
    """The COUNT nearest rows [Q, COUNT] by cosines in single precision."""
    asked = _units(queries)
    parts = [asked @ _units(x[start : start + PART]).T for start in range(0, len(x), PART)]
    return np.stack([top_rows(row, COUNT) for row in np.concatenate(parts, axis=1)])


def _units(x: NDArray[np.float16]) -> NDArray[np.float32]:
    rows = np.asarray(x, np.float32)
    units: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units


def main() -> None:
    """Measure both kinds and print what came out as JSON."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for kind in ("clustered", "unstructured"):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(kind, total, Path(folder))
            print(json.dumps({"rows": total, "kind": kind} | found), flush=True)


if __name__ == "__main__":
    main()
