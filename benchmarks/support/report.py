"""Reports results: the limits, the measurements, and the machine."""

import importlib.metadata
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil

ROOT = Path(__file__).parents[2]
OUT = ROOT / "benchmarks" / "out"
ENVIRONMENT = ROOT / ".venv-label-studio"
PACKAGES = ("torch", "openvino", "scikit-learn", "numpy", "rq", "uvicorn")

Wanted = Literal["most", "least", "exactly"]
WORDS: dict[Wanted, str] = {"most": "≤", "least": "≥", "exactly": "="}


@dataclass(frozen=True)
class Bar:
    """A limit and its measurement, in `unit`; None when it could not be measured."""

    name: str
    wanted: Wanted
    limit: float
    measured: float | None
    unit: str
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the measurement is within the limit."""
        if self.measured is None:
            return False
        if self.wanted == "exactly":
            return self.measured == self.limit
        return self.measured <= self.limit if self.wanted == "most" else self.measured >= self.limit

    def row(self) -> tuple[str, str, str, str]:
        """The row of the table: name, limit, measurement, verdict."""
        measured = "not measured" if self.measured is None else f"{self.measured:.4g} {self.unit}"
        asked = f"{WORDS[self.wanted]} {self.limit:g} {self.unit}"
        return self.name, asked, measured, ("met" if self.met else "MISSED")


@dataclass
class Outcome:
    """The results of a benchmark: its bars, and facts that explain them."""

    bars: list[Bar] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values don't exceed."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)]


def spread(values: Sequence[float], unit: float = 1.0) -> dict[str, float]:
    """Count, median, tails and largest of `values`, each times `unit`."""
    if not values:
        return {"n": 0}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    found = {name: round(percentile(values, share) * unit, 3) for name, share in shares.items()}
    return {"n": len(values), **found}


def load_average() -> float:
    """Processes that want a processor, over the last minute."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, Any]:
    """Where and with what was measured."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "label_studio": _label_studio_version(),
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _label_studio_version() -> str:
    found = sorted(ENVIRONMENT.glob("lib/python*/site-packages/label_studio-*.dist-info"))
    return found[0].name.split("-")[1].removesuffix(".dist") if found else "not installed"


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    dirty = git("status", "--porcelain", "--", "backend", "worker", "studio", "model", "store")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if dirty else "")


def show(name: str, outcome: Outcome, before: float, seconds: float) -> None:
    """Print the bars and the facts, and keep them as JSON in `out`."""
    where = machine()
    load = {"before": before, "after": load_average()}
    print(f"\n{name}: {seconds:.0f} s; load average {load['before']} before, {load['after']} after")
    _print_table([bar.row() for bar in outcome.bars])
    for bar in outcome.bars:
        if bar.note:
            print(f"  {bar.name}: {bar.note}")
    for key, value in outcome.facts.items():
        print(f"  {key}: {value}")
    packages = ", ".join(f"{package} {version}" for package, version in where["packages"].items())
    print(
        f"  {where['processor']}, {where['cores']} cores, {where['memory_gb']} GB; "
        f"python {where['python']}, Label Studio {where['label_studio']}, {packages}; "
        f"commit {where['commit']}, {where['date']}",
        flush=True,
    )
    OUT.mkdir(exist_ok=True)
    record = {
        "benchmark": name,
        "seconds": round(seconds, 1),
        "load_average": load,
        "bars": [asdict(bar) | {"met": bar.met} for bar in outcome.bars],
        "facts": outcome.facts,
        "machine": where,
        "at": time.time(),
    }
    (OUT / f"{name}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))
