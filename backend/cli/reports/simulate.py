"""`apprentice simulate`."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from backend.cli.common import CommandError, first_line, new_file, open_project, plain_table
from backend.views.charts import Curve, area, by_strategy, mean_curve, picture
from model.active_learning.simulation import Chooser, Replay, by_name, replay, split
from model.arrays import Floats, Indices
from model.registry import UnknownNameError

LEAST_ROWS = 8  # fewer images make no pool and no test set


def run_file(file: Path, strategies: str, batch: int, rounds: int, seeds: int, out: Path) -> None:
    """Replay strategies on a file of features and labels."""
    _run(_of_file(file), str(file), strategies, batch, rounds, seeds, out)


def run_project(
    project: int,
    connection: str,
    strategies: str,
    batch: int,
    rounds: int,
    seeds: int,
    out: Path,
) -> None:
    """Replay strategies on what is labelled in a project."""
    x, y, control = _of_project(project, connection)
    name = f"project {project}, {control}"
    _run(lambda seed: split(x, y, seed=seed), name, strategies, batch, rounds, seeds, out)


def _run(
    data: Callable[[int], Replay],
    source: str,
    strategies: str,
    batch: int,
    rounds: int,
    seeds: int,
    out: Path,
) -> None:
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    try:
        choosers = {name: by_name(name) for name in names}
    except UnknownNameError as error:
        raise CommandError(str(error), code=2) from None
    if not names:
        raise CommandError("give --strategies, for instance auto,random", code=2)
    drawing = out.with_suffix(".svg")
    if drawing == out:
        raise CommandError("--out names the JSON file; the .svg is put beside it", code=2)
    with new_file(out) as file, new_file(drawing) as drawing_file:
        curves, given = _replay(data, choosers, batch, rounds, seeds)
        file.write_text(json.dumps(_plain(curves, given, source, batch), indent=1) + "\n")
        title = f"accuracy by labels, {source}, {len(given.test_x)} images tested on"
        drawing_file.write_text(picture(curves, title))
    _show(Console(highlight=False), curves)
    typer.echo(f"{out}, {drawing}")


def _replay(
    data: Callable[[int], Replay],
    choosers: Mapping[str, Chooser],
    batch: int,
    rounds: int,
    seeds: int,
) -> tuple[list[Curve], Replay]:
    """A curve for each seed and strategy, and what the last was replayed on."""
    curves: list[Curve] = []
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(choosers) * seeds * rounds)
        for seed in range(seeds):
            given = data(seed)
            for name, choose in choosers.items():
                progress.update(bar, description=f"{name}, seed {seed}")
                done = replay(
                    given,
                    choose,
                    batch=batch,
                    rounds=rounds,
                    seed=seed,
                    tell=lambda _: progress.advance(bar),
                )
                curves.append(Curve(name, seed, done))
    return curves, given


def _of_file(file: Path) -> Callable[[int], Replay]:
    """The file's arrays by seed, which decides on the test set where the file has none.

    Raises:
        CommandError: it can't be read, or its arrays don't go together.
    """
    try:
        with file.open("rb") as opened:
            arrays = np.load(opened, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise CommandError(f"{file} is no .npz file: it holds one array", code=2)
            known = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise CommandError(f"{file} can't be read: {first_line(error)}", code=2) from None
    x, labels = _pair(file, known, "features", "labels")
    if "test_features" not in known:
        known_codes = np.asarray(np.unique(labels, return_inverse=True)[1], np.intp)
        return lambda seed: split(x, known_codes, seed=seed)
    test_x, test_labels = _pair(file, known, "test_features", "test_labels")
    if test_x.shape[1] != x.shape[1]:
        raise CommandError(f"{file}: features and test_features differ in length", code=2)
    both = np.concatenate([labels, test_labels])
    codes = np.asarray(np.unique(both, return_inverse=True)[1], np.intp)
    given = Replay(x, codes[: len(labels)], test_x, codes[len(labels) :])
    return lambda _: given


def _pair(
    file: Path, known: dict[str, NDArray[Any]], features: str, labels: str
) -> tuple[Floats, NDArray[Any]]:
    """Features [N, D] and labels [N], without the rows that hold no numbers."""
    missing = [name for name in (features, labels) if name not in known]
    if missing:
        raise CommandError(f"{file} has no array {' and no '.join(missing)}", code=2)
    x, y = known[features], known[labels]
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or x.dtype.kind not in "fiu":
        raise CommandError(
            f"{file}: {features} must be numbers [N, D] and {labels} [N], "
            f"they are {x.dtype} {list(x.shape)} and {list(y.shape)}",
            code=2,
        )
    with np.errstate(over="ignore"):  # what is too large is left out as infinite
        x = x.astype(np.float32)
    kept = np.isfinite(x).all(axis=1)
    if kept.sum() < (LEAST_ROWS if features == "features" else 1):
        raise CommandError(f"{file}: {features} has {kept.sum()} usable rows, too few", code=2)
    return x[kept], y[kept]


def _of_project(project: int, connection: str) -> tuple[Floats, Indices, str]:
    """Embeddings and classes of what is labelled, of the first control with one class an image."""
    from services.snapshot import take_snapshot
    from services.training.training_set import training_set

    with open_project(connection, project) as (store, known):
        now = take_snapshot(store, known.id)
        if now.config.reason is not None:
            raise CommandError(now.config.reason)
        data = training_set(store, now)
    groups = np.arange(len(data.tasks))
    for control in now.config.controls:
        rows = data.of_control(control, groups)
        if rows.labels.form == "single" and len(rows.tasks) >= LEAST_ROWS:
            return rows.x, np.asarray(rows.labels.y, np.intp), control.name
    raise CommandError(
        f"project {project} has no control with one class an image and {LEAST_ROWS} labels or more"
    )


def _plain(curves: Sequence[Curve], given: Replay, source: str, batch: int) -> dict[str, Any]:
    return {
        "source": source,
        "pool": len(given.x),
        "test": len(given.test_x),
        "classes": len(given.classes),
        "batch": batch,
        "curves": [
            {
                "strategy": curve.strategy,
                "seed": curve.seed,
                "rounds": [asdict(done) for done in curve.rounds],
            }
            for curve in curves
        ],
    }


def _show(console: Console, curves: Sequence[Curve]) -> None:
    table = plain_table("strategy", "runs", "labels", "at the end", "over all", "seconds a choice")
    for name, runs in by_strategy(curves).items():
        last = mean_curve(runs)[-1]
        seconds = [done.query_seconds for curve in runs for done in curve.rounds]
        interval = f" ± {100 * (last.high - last.mean):.1f}" if len(runs) > 1 else ""
        table.add_row(
            name,
            str(len(runs)),
            str(last.labels),
            f"{100 * last.mean:.1f}%{interval}",
            f"{100 * float(np.mean([area(curve.rounds) for curve in runs])):.1f}%",
            f"{float(np.mean(seconds)):.2f}",
        )
    console.print(table)
