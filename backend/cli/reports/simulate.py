"""`apprentice simulate`."""

import json
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from backend.cli.errors import CommandError
from backend.cli.options import Connection
from backend.cli.output import new_file, plain_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backend.views.charts import Curve
    from model.active_learning.simulation import Chooser, Replay

Features = Annotated[
    Path | None,
    typer.Option(
        "--features",
        help="An .npz file: features [N, D], labels [N]; test_features, test_labels.",
    ),
]
LabelledProject = Annotated[
    int | None, typer.Option("--project", "-p", help="Or a labelled project's id.", min=1)
]
Strategies = Annotated[
    str, typer.Option(help="Names with commas between; A+B begins with A and goes on with B.")
]
Batch = Annotated[int, typer.Option(min=1, help="Images labelled a round.")]
Rounds = Annotated[int, typer.Option(min=1, help="How many rounds.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each, with seeds 0, 1, …")]
OutFile = Annotated[Path, typer.Option(help="A JSON file; a picture is put beside it.")]


def simulate(
    features: Features = None,
    project: LabelledProject = None,
    strategies: Strategies = "auto,random",
    batch: Batch = 20,
    rounds: Rounds = 15,
    seeds: Seeds = 5,
    out: OutFile = Path("curves.json"),
    connection: Connection = "default",
) -> None:
    """Replay ways of choosing on labels that are known: a file, or a labelled project."""
    from backend.cli.reports.replay_data import labelled_features, replay_data_of_file
    from model.active_learning.simulation import split

    if (features is None) == (project is None):
        raise CommandError("give --features FILE or --project ID", code=2)
    if features is not None:
        data, source = replay_data_of_file(features), str(features)
    else:
        assert project is not None, "checked above"
        x, y, control = labelled_features(project, connection)
        data, source = (lambda seed: split(x, y, seed=seed)), f"project {project}, {control}"
    _run(data, source, strategies, batch, rounds, seeds, out)


def _run(
    data: "Callable[[int], Replay]",
    source: str,
    strategies: str,
    batch: int,
    rounds: int,
    seeds: int,
    out: Path,
) -> None:
    """Replay the strategies, and write and print their learning curves."""
    from backend.views.charts import picture
    from model.active_learning.simulation import by_name
    from model.registry import UnknownNameError

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    try:
        choosers = {name: by_name(name) for name in names}
    except UnknownNameError as error:
        raise CommandError(str(error), code=2) from None
    if not names:
        raise CommandError("give --strategies, for instance auto,random", code=2)
    picture_path = out.with_suffix(".svg")
    if picture_path == out:
        raise CommandError("--out names the JSON file; the .svg is put beside it", code=2)
    with new_file(out) as file, new_file(picture_path) as picture_file:
        curves, replayed = _replay(data, choosers, batch, rounds, seeds)
        file.write_text(json.dumps(_as_json(curves, replayed, source, batch), indent=1) + "\n")
        title = f"accuracy by labels, {source}, {len(replayed.test_x)} images tested on"
        picture_file.write_text(picture(curves, title))
    _show(Console(highlight=False), curves)
    typer.echo(f"{out}, {picture_path}")


def _replay(
    data: "Callable[[int], Replay]",
    choosers: "Mapping[str, Chooser]",
    batch: int,
    rounds: int,
    seeds: int,
) -> "tuple[list[Curve], Replay]":
    """A curve for each seed and strategy, and the data of the last replay."""
    from rich.progress import Progress

    from backend.views.charts import Curve
    from model.active_learning.simulation import replay

    curves: list[Curve] = []
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(choosers) * seeds * rounds)
        for seed in range(seeds):
            replayed = data(seed)
            for name, choose in choosers.items():
                progress.update(bar, description=f"{name}, seed {seed}")
                done = replay(
                    replayed,
                    choose,
                    batch=batch,
                    rounds=rounds,
                    seed=seed,
                    tell=lambda _: progress.advance(bar),
                )
                curves.append(Curve(name, seed, done))
    return curves, replayed


def _as_json(
    curves: "Sequence[Curve]", replayed: "Replay", source: str, batch: int
) -> dict[str, Any]:
    return {
        "source": source,
        "pool": len(replayed.x),
        "test": len(replayed.test_x),
        "classes": len(replayed.classes),
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


def _show(console: Console, curves: "Sequence[Curve]") -> None:
    from backend.views.charts import area, by_strategy, mean_curve

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
            f"{100 * fmean(area(curve.rounds) for curve in runs):.1f}%",
            f"{fmean(seconds):.2f}",
        )
    console.print(table)
