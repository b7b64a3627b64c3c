"""Runs benchmarks, `python -m benchmarks NAME ...|all`, and writes results to `benchmarks/out`."""

import argparse
import importlib
import re
import subprocess
import sys
import time

from backend import logs
from benchmarks.support.harness import Options
from benchmarks.support.report import ROOT, Bar, Outcome, load_average, show
from benchmarks.support.servers import DATABASES

# What runs for `all`, in this order: (name, module, function).
BENCHMARKS = {
    "accuracy": ("accuracy", "run"),
    "against_label_studio_ml": ("system.against_label_studio_ml", "run"),
    "browser": ("hostile.browser", "run"),
    "burst": ("system.burst", "run"),
    "cluster": ("system.cluster", "run"),
    "connect": ("system.connect", "run"),
    "hostile": ("hostile.images", "run"),
    "inbox-kills": ("system.inbox_kills", "run"),
    "kills": ("system.kills", "run"),
    "load": ("system.load", "run"),
    "loop": ("system.loop", "run"),
    "memory": ("system.memory", "run"),
    "outbound": ("system.outbound", "run"),
    "predict": ("system.predict", "run"),
    "requests": ("hostile.requests", "run"),
    "restart": ("system.restart", "run"),
    "share": ("system.share", "run"),
    "steady": ("system.loop", "run_steady"),
    "stream": ("system.stream", "run"),
    "tuning": ("system.tuning", "run"),
}
EMBEDDING = "embedding"  # a script of its own: it must have the processors to itself


def main() -> int:
    """Run what was asked for; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [*sorted(BENCHMARKS), EMBEDDING, "all"]
    parser.add_argument("names", nargs="+", metavar="NAME", choices=names, help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="small numbers: a try of the scripts")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the labelling in `share`")
    parser.add_argument("--runs", type=int, default=0, help="of `load` (1) and kills (5)")
    parser.add_argument("--seed", type=int, default=0, help="of the first run of kills")
    parser.add_argument(
        "--database", choices=DATABASES, default=DATABASES[0], help="of `load` and kills"
    )
    parser.add_argument(
        "--outbound", action="store_true", help="`loop` and `steady` with a stock Label Studio"
    )
    given = parser.parse_args()
    logs.configure("warning")
    options = Options(
        quick=given.quick,
        minutes=given.minutes,
        runs=given.runs,
        database=given.database,
        seed=given.seed,
        outbound=given.outbound,
    )
    wanted = [*BENCHMARKS, EMBEDDING] if "all" in given.names else given.names
    met = [_measure(name, options) for name in wanted]
    return 0 if all(met) else 1


def _measure(name: str, options: Options) -> bool:
    before, began = load_average(), time.monotonic()
    if name == EMBEDDING:
        outcome = _embedding(options)
    else:
        module, function = BENCHMARKS[name]
        outcome = getattr(importlib.import_module(f"benchmarks.{module}"), function)(options)
    if options.database != DATABASES[0]:
        name = f"{name}-{options.database}"
    name += "-outbound" * options.outbound + "-quick" * options.quick
    show(name, outcome, before, time.monotonic() - began)
    return all(bar.met for bar in outcome.bars)


def _embedding(options: Options) -> Outcome:
    images = options.count(2000, 200)
    command = [sys.executable, "benchmarks/embedding.py", "--images", str(images)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = re.search(r"^wall: .*ratio ([\d.]+)%", done.stdout, re.MULTILINE)
    ratio = float(found[1]) if found else None
    name = f"first embedding of {images:,} images, of OpenVINO alone"
    return Outcome([Bar(name, "least", 85, ratio, "%")], {"output": done.stdout.strip()})


if __name__ == "__main__":
    sys.exit(main())
