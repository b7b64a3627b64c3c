"""`apprentice versions`, `rollback` and `promote`."""

import json
import time
from dataclasses import asdict

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from backend.cli.common import CommandError, open_project
from backend.views.versions import VersionRecord, decide, version_records
from services.versions.rollback import VersionError

INDENT = 4  # columns, of a verdict
STYLES = {"served": "green", "refused": "red", "candidate": "yellow"}


def run(project: int, connection: str, *, as_json: bool) -> None:
    """Print the project's versions."""
    with open_project(connection, project) as (store, known), store.database.read() as db:
        records = version_records(db, known.id)
    if as_json:
        typer.echo(json.dumps(list(map(asdict, records)), indent=2))
    elif not records:
        typer.echo("No version yet: label a few tasks of at least two classes.")
    else:
        _show(Console(highlight=False), records)
        if known.held_at is not None:
            promote = f"`apprentice promote --project {project}`"
            typer.echo(f"Held by a rollback: {promote} lets new versions be served.")


def run_decision(
    action: str, project: int, connection: str, name: str | None, *, as_json: bool
) -> None:
    """Have another version served: `action` is rollback or promote."""
    with open_project(connection, project) as (store, known):
        try:
            decision = decide(store, known, action, name)
        except VersionError as error:
            raise CommandError(str(error)) from None
    if as_json:
        typer.echo(json.dumps(asdict(decision), indent=2))
        return
    typer.echo(f"{decision.version} is on its way to Label Studio.")
    if decision.held:
        typer.echo(f"Later versions wait until `apprentice promote --project {project}`.")


def _show(console: Console, records: list[VersionRecord]) -> None:
    """A line for each version with its verdict below it: together they fit no narrow terminal."""
    columns = ("version", "status", "labels", "accuracy", "made")
    rows = [_cells(record) for record in records]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        return "  ".join(map(str.ljust, cells, widths)).rstrip()

    console.print(line(columns), style="bold")
    for record, cells in zip(records, rows, strict=True):
        console.print(line(cells), style=STYLES.get(record.status), markup=False)
        console.print(Padding(Text(f"{record.kind}: {record.verdict}"), (0, 0, 0, INDENT)))


def _cells(record: VersionRecord) -> tuple[str, ...]:
    labels = str(record.labels).rjust(len("labels"))
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created_at))
    return record.name, record.status, labels, _accuracy(record), made


def _accuracy(record: VersionRecord) -> str:
    known = record.metrics.get("accuracy")
    if not known:
        return ""
    return f"{known['value']:.1%} ({known['low']:.1%} to {known['high']:.1%})"
