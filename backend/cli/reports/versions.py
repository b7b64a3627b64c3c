"""`apprentice versions`."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from backend.cli.options import AsJson, Connection, Project
from backend.cli.store_access import open_project

if TYPE_CHECKING:
    from backend.views.versions import VersionRecord

INDENT = 4  # columns, of a verdict
STYLES = {"served": "green", "refused": "red", "candidate": "yellow"}


def versions(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """List the versions: accuracy, status and the gate's verdict."""
    from backend.views.versions import version_records

    with open_project(connection, project) as (store, connected), store.database.read() as db:
        records = version_records(db, connected.id)
    if as_json:
        typer.echo(json.dumps(list(map(asdict, records)), indent=2))
    elif not records:
        typer.echo("No version yet: `apprentice status` says why.")
    else:
        _show(Console(highlight=False), records)
        if connected.held_at is not None:
            promote = f"`apprentice promote --project {project}`"
            typer.echo(f"Pinned by a rollback: {promote} lets new versions be served.")


def _show(console: Console, records: list["VersionRecord"]) -> None:
    """Print a line for each version, and its verdict below: one line would be too wide."""
    from rich.padding import Padding
    from rich.text import Text

    columns = ("version", "status", "labels", "accuracy", "made")
    rows = [_cells(record) for record in records]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        return "  ".join(map(str.ljust, cells, widths)).rstrip()

    console.print(line(columns), style="bold")
    for record, cells in zip(records, rows, strict=True):
        console.print(line(cells), style=STYLES.get(record.status), markup=False)
        console.print(Padding(Text(f"{record.kind}: {record.verdict}"), (0, 0, 0, INDENT)))


def _cells(record: "VersionRecord") -> tuple[str, ...]:
    labels = str(record.labels).rjust(len("labels"))
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created_at))
    return record.name, record.status, labels, _accuracy(record), made


def _accuracy(record: "VersionRecord") -> str:
    accuracy = record.metrics.get("accuracy")
    if not accuracy:
        return ""
    return f"{accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})"
