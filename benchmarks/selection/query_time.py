"""Measures the time to choose 100 of 10,000 to 1,000,000 embeddings of 1,280 float16.

    python -m benchmarks.selection.query_time [--sizes 10000 100000 1000000] [--strategies auto]

The matrix is a file mapped into memory, as workers have it, and was just written, so that the page
cache is warm. Timed is `shortlist` with the head's answers. Memory is the process's peak, with what
it has mapped. The bars: 1 s, 5 s, 40 s and 4 GB.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.selection import Pool, ShortlistRequest, shortlist
from model.statistics.calibration import softmax

DIM, CLASSES, LABELLED, BATCH = 1280, 50, 1000, 100
BARS = {10_000: 1.0, 100_000: 5.0, 1_000_000: 40.0}  # seconds
MOST_MEMORY = 4.0  # GB
BLOCK = 10_000


def made_up(path: Path, rows: int) -> None:
    """Write non-negative features of so many rows around CLASSES centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, DIM)).astype(np.float32)
    noise = 2 * rng.normal(size=(BLOCK, DIM)).astype(np.float32)
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(rows, DIM))
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        here = np.roll(noise, start // BLOCK, axis=1)[:count]  # drawing all anew takes minutes
        x[start : start + count] = np.maximum(centres[rng.integers(0, CLASSES, count)] + here, 0)
    x.flush()


def main() -> int:
    """1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(BARS))
    parser.add_argument("--strategies", nargs="+", default=["auto"])
    parser.add_argument("--folder", type=Path, help="for the matrix; by default a temporary one")
    given = parser.parse_args()
    weight = np.random.default_rng(1).normal(size=(DIM, CLASSES)).astype(np.float32) / 30
    missed = False

    def predict(rows: NDArray[np.floating]) -> tuple[NDArray[np.float32], ...]:
        return (softmax(np.asarray(rows, np.float32) @ weight),)

    for size in given.sizes:
        with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
            path = Path(scratch) / "x.npy"
            made_up(path, size)
            x = np.load(path, mmap_mode="r")
            labelled = np.asarray(x[:LABELLED], np.float32)
            for strategy in given.strategies:
                wall, cpu = time.perf_counter(), time.process_time()
                pool = Pool(x, (), 0, labelled, predict)
                picks = shortlist(pool, ShortlistRequest(BATCH, strategy))
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                # Kilobytes on Linux.
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
                bar = BARS.get(size, float("inf"))
                missed |= wall > bar or memory > MOST_MEMORY
                print(
                    f"{size:,}: {strategy} chose {len(picks)} in {wall:.2f} s ({cpu:.2f} s of CPU; "
                    f"bar {bar:g} s), peak memory {memory:.2f} GB (bar {MOST_MEMORY:g} GB)",
                    flush=True,
                )
            del x
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
