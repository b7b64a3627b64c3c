"""The command line's part about choosing what is labelled next."""

from pathlib import Path
from typing import Annotated

import typer

from backend.cli.common import CommandError
from backend.cli.options import Connection


def simulate(
    features: Annotated[
        Path | None,
        typer.Option(help="An .npz file: features [N, D], labels [N]; test_features, test_labels."),
    ] = None,
    project: Annotated[
        int | None, typer.Option("--project", "-p", help="Or a labelled project's id.", min=1)
    ] = None,
    strategies: Annotated[
        str, typer.Option(help="Names with commas between; A+B begins with A and goes on with B.")
    ] = "auto,random",
    batch: Annotated[int, typer.Option(min=1, help="Images labelled a round.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds.")] = 15,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with seeds 0, 1, …")] = 5,
    out: Annotated[Path, typer.Option(help="A JSON file; a picture is put beside it.")] = Path(
        "curves.json"
    ),
    connection: Connection = "default",
) -> None:
    """Replay ways of choosing on labels that are known: a file, or a labelled project."""
    from backend.cli.reports import simulate as command

    if (features is None) == (project is None):
        raise CommandError("give --features FILE or --project ID", code=2)
    if features is not None:
        command.run_file(features, strategies, batch, rounds, seeds, out)
    elif project is not None:
        command.run_project(project, connection, strategies, batch, rounds, seeds, out)
