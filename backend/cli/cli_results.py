"""Commands about what was reached: the ledger, all suggestions, similar images, labels to check."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from backend.cli.options import AsJson, Connection, Project


class TableFormat(StrEnum):
    """What `apply` can write."""

    CSV = "csv"
    JSON = "json"


LeastConfidence = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        help="Less sure suggestions are left out; by default those of the settings.",
        min=0,
        max=1,
    ),
]
Format = Annotated[TableFormat, typer.Option("--format", help="Of the file.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", "-o", help="The file; by default standard output.")
]
Task = Annotated[int, typer.Option("--task", "-t", help="Label Studio's task id.", min=1)]
Count = Annotated[int, typer.Option("--count", "-k", help="How many.", min=1, max=1000)]


def add_to(app: typer.Typer) -> None:
    """Have the command line know these commands."""
    for command in (ledger, apply, similar):
        app.command()(command)


def ledger(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """Show what became of suggestions, what time they save, and how they sway people."""
    from backend.cli.reports import ledger as command

    command.run(project, connection, as_json=as_json)


def apply(
    project: Project,
    min_confidence: LeastConfidence = None,
    fmt: Format = TableFormat.CSV,
    out: OutFile = None,
    connection: Connection = "default",
) -> None:
    """Label all the rest: suggestions for every task, to Label Studio and into a file."""
    from backend.cli.actions import apply as command

    command.run(project, connection, min_confidence, fmt.value, out)


def similar(
    project: Project,
    task: Task,
    count: Count = 10,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """List the tasks whose images look most like a task's."""
    from backend.cli.reports import similar as command

    command.run(project, connection, task, count, as_json=as_json)
