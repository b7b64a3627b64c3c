"""Measures embedding and fine-tuning on this machine's GPU, in at most five minutes.

    python -m benchmarks.gpu [--device cuda] [--images 4000] [--labels 600] [--no-compile]

The embed and fine-tune jobs run through RQ in their own workers, bare loops in this process beside
them. Prints a table, a line as soon as it is known; a part that fails is printed with its reason,
and the others go on. To try the script itself on a CPU:

    python -m benchmarks.gpu --device cpu --images 120 --labels 60 --no-compile --patience 600
"""

import argparse
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

import torch

from backend import logs
from benchmarks.gpu.embedding import (
    measure_embedding,
    measure_little_memory,
    measure_options,
)
from benchmarks.gpu.finetuning import measure_cancelling, measure_finetuning
from benchmarks.gpu.images import drawn
from benchmarks.gpu.project import running_bench
from benchmarks.gpu.table import Row


def main() -> int:
    """Measure every part; 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--labels", type=int, default=600)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for one job")
    given = parser.parse_args()
    logs.configure("warning")
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: --device cpu tries the script itself", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name() if given.device == "cuda" else platform.processor()
    print(f"{name}; torch {torch.__version__}, {given.images} images, {given.labels} labels")
    began = time.monotonic()
    samples = list(drawn(given.images))
    jpegs, labels = [jpeg for jpeg, _ in samples], [label for _, label in samples]
    tried = jpegs[: given.labels + min(400, given.images - given.labels)]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_bench(Path(folder), given.device) as bench,
    ):
        bare = Path(folder) / "bare"
        parts: list[tuple[str, Iterable[Row]]] = [
            ("embedding", measure_embedding(bench, jpegs, given.device)),
            ("options", measure_options(jpegs, given.device, compiled=not given.no_compile)),
            (
                "fine-tuning",
                measure_finetuning(
                    bench, tried, labels[: len(tried)], given.labels, given.device, bare
                ),
            ),
            ("cancelling", measure_cancelling(bench)),
        ]
        if given.device == "cuda":
            parts.append(("little memory", measure_little_memory(jpegs)))
        met = [_print(name, rows) for name, rows in parts]
    print(f"{time.monotonic() - began:.0f} s in all")
    return 0 if all(met) else 1


def _print(part: str, rows: Iterable[Row]) -> bool:
    try:
        for row in rows:
            print(row.line(), flush=True)
    except Exception:
        print(f"  {part} FAILED:\n{traceback.format_exc()}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
