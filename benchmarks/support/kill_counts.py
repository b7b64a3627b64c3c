"""Counts what kills at random points cost, over runs with different seeds."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.support.harness import Options
from benchmarks.support.report import Bar

RUNS = 5


@dataclass
class KillCount:
    """What one run has found."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    double_predictions: int = 0
    double_effects: int = 0


C = TypeVar("C", bound=KillCount)


def count_runs(options: Options, run: Callable[[int], C]) -> list[C]:
    """Run with one seed after the other."""
    counts = []
    for seed in range(options.seed, options.seed + (options.runs or options.count(RUNS, 1))):
        counts.append(run(seed))
        print(seed, counts[-1], flush=True)
    return counts


def kills_of(counts: Sequence[KillCount]) -> Counter[str]:
    """{what was killed: how often} in all runs."""
    return sum((count.kills for count in counts), Counter[str]())


def bars(counts: Sequence[KillCount], kills: int, note: str) -> list[Bar]:
    """The bars over all runs, each with at least so many kills; nothing may be lost or doubled."""

    def total(name: str) -> int:
        return sum(getattr(count, name) for count in counts)

    note = f"{total('acknowledged')} webhooks acknowledged{note}"
    return [
        Bar("kills", "least", kills * len(counts), kills_of(counts).total(), "kills"),
        Bar("labels lost", "exactly", 0, total("lost"), "labels", note),
        Bar("double predictions", "exactly", 0, total("double_predictions"), "predictions"),
        Bar("webhooks applied twice", "exactly", 0, total("double_effects"), "webhooks"),
    ]
