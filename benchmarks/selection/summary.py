"""What runs come to: ranks, gains over chance, and labels that are needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.curves import Curve, picture
from model.simulation import Round

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
        thirds = {
            arm: np.stack(
                [
                    part.mean(axis=1)
                    for part in np.array_split(_heights(runs, name, arm, seeds), 3, 1)
                ]
            )
            for arm in whole
        }
        for index, budget in enumerate(BUDGETS):
            means = {arm: float(thirds[arm][index].mean()) for arm in whole}
            order = sorted(whole, key=lambda arm: -means[arm])
            for place, arm in enumerate(order):
                ranks[arm].append(place + 1)
                gains[arm].append(100 * (means[arm] - means["random"]))
            best = next(arm for arm in order if arm != "auto")
            behind = thirds["auto"][index] - thirds[best][index]
            error = behind.std(ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else np.nan
            listed = ", ".join(f"{arm} {means[arm]:.1%}" for arm in order[:4])
            print(
                f"{name}, {budget} ({len(seeds)} seeds): {listed}; auto − {best}: "
                f"{100 * behind.mean():+.2f} ± {100 * error:.2f}; random {means['random']:.1%}"
            )
        _draw(runs, name, seeds, out)
    for arm in sorted(whole, key=lambda arm: np.mean(ranks[arm])):
        print(
            f"{arm}: mean rank {np.mean(ranks[arm]):.2f} of {len(whole)}, gain over random "
            f"{np.mean(gains[arm]):+.2f} points (worst {min(gains[arm]):+.2f})"
        )
    _labels_needed(runs, sets)
    _oracle(runs, sets)


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
