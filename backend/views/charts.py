"""Learning curves of selection strategies: means, areas, and an SVG chart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, Template

from model.active_learning.simulation import Round

COLOURS = ("#1f6feb", "#8b949e", "#d29922", "#2da44e", "#cf222e", "#8250df", "#0a7d8c", "#bf3989")
WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 20, 48  # pixels around the plot


@dataclass(frozen=True)
class Curve:
    """One run of one strategy."""

    strategy: str
    seed: int
    rounds: Sequence[Round]


@dataclass(frozen=True)
class Point:
    """The mean accuracy over runs after so many labels, and its 95% interval."""

    labels: int
    mean: float
    low: float
    high: float


def mean_curve(curves: Sequence[Curve]) -> list[Point]:
    """The mean curve of one strategy's runs, up to the shortest; a single run has no interval.

    The 95% intervals are by Student's t.
    """
    from scipy.stats import t as students_t  # with `apprentice simulate` alone, which fits heads

    length = min(len(curve.rounds) for curve in curves)
    points = []
    for number in range(length):
        values = [curve.rounds[number].accuracy for curve in curves]
        mean = float(np.mean(values))
        half = 0.0
        if len(values) > 1:
            error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
            half = float(students_t.ppf(0.975, len(values) - 1)) * error
        points.append(Point(curves[0].rounds[number].labels, mean, mean - half, mean + half))
    return points


def area(rounds: Sequence[Round]) -> float:
    """The mean height of a curve over its labels (trapezoidal rule, divided by the width)."""
    if len(rounds) < 2:
        return rounds[0].accuracy if rounds else math.nan
    labels = [done.labels for done in rounds]
    heights = [done.accuracy for done in rounds]
    return float(np.trapezoid(heights, labels) / (labels[-1] - labels[0]))


def by_strategy(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Group the runs by strategy, in order of first appearance."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.strategy, []).append(curve)
    return found


def picture(curves: Sequence[Curve], title: str) -> str:
    """Draw the mean curves with their intervals as SVG."""
    means = {name: mean_curve(runs) for name, runs in by_strategy(curves).items()}
    points = [point for mean in means.values() for point in mean]
    low = math.floor(20 * max(min(point.low for point in points), 0)) / 20
    high = math.ceil(20 * min(max(point.high for point in points), 1)) / 20
    high = max(high, low + 0.05)
    most = max(point.labels for point in points)

    def across(labels: float) -> float:
        return round(LEFT + labels / most * (WIDTH - LEFT - RIGHT), 1)

    def down(accuracy: float) -> float:
        share = (min(max(accuracy, low), high) - low) / (high - low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    lines = [
        {
            "name": name,
            "colour": COLOURS[index % len(COLOURS)],
            "dash": "" if index < len(COLOURS) else "6 4",
            "line": " ".join(f"{across(p.labels)},{down(p.mean)}" for p in mean),
            "band": " ".join(
                [f"{across(p.labels)},{down(p.high)}" for p in mean]
                + [f"{across(p.labels)},{down(p.low)}" for p in reversed(mean)]
            ),
        }
        for index, (name, mean) in enumerate(means.items())
    ]
    steps = max(round((high - low) / 0.05), 1)
    every = math.ceil(steps / 8)
    ticks = [low + 0.05 * step for step in range(0, steps + 1, every)]
    return _template().render(
        title=title,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        bottom=HEIGHT - BOTTOM,
        lines=lines,
        ticks=[(down(tick), f"{tick:.0%}") for tick in ticks],
        marks=[(across(labels), labels) for labels in _round_numbers(most)],
    )


def _round_numbers(most: int) -> list[int]:
    """About six round numbers from 0 to `most`, for the axis."""
    raw = most / 6
    unit = 10 ** math.floor(math.log10(max(raw, 1)))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    return list(range(0, most + 1, int(max(step, 1))))


def _template() -> Template:
    environment = Environment(loader=PackageLoader("backend.views"), autoescape=True)
    return environment.get_template("curves.svg")
