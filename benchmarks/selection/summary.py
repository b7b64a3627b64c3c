"""Summarises runs: ranks, gains over random picks, and labels needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.views.charts import Curve, picture
from model.active_learning.simulation import Round

Runs = Mapping[tuple[str, str, int], Sequence[Round]]
BUDGETS = ("low", "middle", "high")
ALMOST = 0.95  # of the accuracy when all of the pool is labelled
NO_ARMS = ("oracle", "all")


def _heights(runs: Runs, name: str, arm: str, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Accuracies [seeds, rounds]."""
    return np.array([[done.accuracy for done in runs[name, arm, seed]] for seed in seeds])


def _common(runs: Runs, name: str, arms: Sequence[str]) -> list[int]:
    """The seeds that all of these arms have on a set."""
    seeds = [{s for n, a, s in runs if (n, a) == (name, arm)} for arm in arms]
    return sorted(set.intersection(*seeds)) if seeds else []


def report(runs: Runs, sets: Sequence[str], out: Path) -> None:
    """Print tables and draw a picture of each set."""
    arms = sorted({arm for _, arm, _ in runs if arm not in NO_ARMS})
    counts = {arm: min(len(_common(runs, name, [arm])) for name in sets) for arm in arms}
    whole = [arm for arm in arms if counts[arm] >= counts["random"]]
    print("seeds on every set:", ", ".join(f"{arm} {n}" for arm, n in counts.items()))
    ranks: dict[str, list[float]] = {arm: [] for arm in whole}
    gains: dict[str, list[float]] = {arm: [] for arm in whole}
    for name in sets:
        seeds = _common(runs, name, whole)
        heights = {arm: _heights(runs, name, arm, seeds) for arm in whole}
        print(f"| {name}, {len(seeds)} seeds | auto | best others | auto − best | auto − random |")
        thirds = np.array_split(np.arange(heights["random"].shape[1]), len(BUDGETS))
        for budget, part in zip(BUDGETS, thirds, strict=True):
            means = {arm: height[:, part].mean(axis=1) for arm, height in heights.items()}
            print(f"| {budget} | {_compared(means)} |")
            for place, arm in enumerate(_in_order(means)):
                ranks[arm].append(place + 1)
                gains[arm].append(100 * float((means[arm] - means["random"]).mean()))
        print(
            f"| all | {_compared({arm: height.mean(axis=1) for arm, height in heights.items()})} |"
        )
        _draw(runs, name, seeds, out)
    for arm in sorted(whole, key=lambda arm: np.mean(ranks[arm])):
        print(
            f"{arm}: mean rank {np.mean(ranks[arm]):.2f} of {len(whole)}, gain over random "
            f"{np.mean(gains[arm]):+.2f} points (worst {min(gains[arm]):+.2f})"
        )
    for arm in arms:
        if arm not in whole:
            _fewer_seeds(runs, sets, arm)
    _labels_needed(runs, sets)
    _oracle(runs, sets)


def _fewer_seeds(runs: Runs, sets: Sequence[str], arm: str) -> None:
    """How far `auto` is from an arm that has not all seeds, on those that both have."""
    parts = []
    for name in sets:
        seeds = _common(runs, name, [arm, "auto"])
        if seeds:
            ours, theirs = (_heights(runs, name, a, seeds).mean(axis=1) for a in ("auto", arm))
            parts.append(f"{name} {_difference(ours - theirs)} ({len(seeds)} seeds)")
    if parts:
        print(f"auto − {arm}: {', '.join(parts)}")


Means = Mapping[str, NDArray[np.float64]]  # [seeds] accuracy over some rounds, by arm


def _in_order(means: Means) -> list[str]:
    return sorted(means, key=lambda arm: -means[arm].mean())


def _compared(means: Means) -> str:
    """Cells of a table: `auto`, the best others, and how far it is from them and from chance."""
    others = [arm for arm in _in_order(means) if arm != "auto"]
    listed = ", ".join(f"{arm} {means[arm].mean():.1%}" for arm in others[:3])
    differences = " | ".join(
        _difference(means["auto"] - means[arm]) for arm in (others[0], "random")
    )
    return f"{means['auto'].mean():.1%} | {listed} | {differences}"


def _difference(pairs: NDArray[np.float64]) -> str:
    """Points and their standard error over seeds."""
    error = pairs.std(ddof=1) / len(pairs) ** 0.5 if len(pairs) > 1 else np.nan
    return f"{100 * pairs.mean():+.2f} ± {100 * error:.2f}"


def _labels_needed(runs: Runs, sets: Sequence[str]) -> None:
    ratios = []
    for name in sets:
        seeds = _common(runs, name, ["all", "auto", "random"])
        if not seeds:
            continue
        labels = [done.labels for done in runs[name, "random", seeds[0]]]
        whole = float(np.mean([runs[name, "all", seed][0].accuracy for seed in seeds]))
        need = {}
        for arm in ("auto", "random"):
            reached = np.flatnonzero(
                _heights(runs, name, arm, seeds).mean(axis=0) >= ALMOST * whole
            )
            need[arm] = labels[reached[0]] if len(reached) else None
        print(f"{name}: {ALMOST:.0%} of {whole:.1%} needs {need} labels")
        if need["auto"] is not None:
            ratios.append(need["auto"] / (need["random"] or labels[-1]))
    if ratios:
        print(
            f"labels needed, of random's, where auto reaches it within {labels[-1]} (random is "
            f"counted with so many where it doesn't): median {np.median(ratios):.2f} of {ratios}"
        )


def _oracle(runs: Runs, sets: Sequence[str]) -> None:
    for name in sets:
        seeds = _common(runs, name, ["oracle", "auto", "random"])
        if not seeds:
            continue
        means = {
            arm: 100 * _heights(runs, name, arm, seeds).mean()
            for arm in ("oracle", "auto", "random")
        }
        print(
            f"{name}, {len(seeds)} seeds: " + ", ".join(f"{a} {m:.1f}%" for a, m in means.items())
        )


def _draw(runs: Runs, name: str, seeds: Sequence[int], out: Path) -> None:
    shown = ("auto", "random", "kmeans+random", "UncertaintySampling-margin", "MaxHerding", "Badge")
    curves = [
        Curve(arm, seed, runs[name, arm, seed])
        for arm in shown
        for seed in seeds
        if (name, arm, seed) in runs
    ]
    (out / f"selection-{name}.svg").write_text(picture(curves, f"accuracy by labels, {name}"))
