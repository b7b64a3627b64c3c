"""`apprentice versions`, `rollback` and `promote`."""

import json
import time
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from backend.commands.common import CommandError, open_project
from backend.versions import VersionRecord, decide, version_records
from worker.republishing import VersionError


def run(project: int, connection: str, *, as_json: bool) -> None:
    """Print the project's versions."""
    with open_project(connection, project) as (store, known), store.database.read() as db:
        records = version_records(db, known.id)
    if as_json:
        typer.echo(json.dumps(list(map(asdict, records)), indent=2))
    elif not records:
        typer.echo("No version yet: label a few tasks of at least two classes.")
    else:
        Console(highlight=False).print(_table(records))
        if known.held_at is not None:
            typer.echo("Held by a rollback: `apprentice promote` lets new versions be served.")


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
        typer.echo("Later versions wait until `apprentice promote`.")


def _table(records: list[VersionRecord]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("version", "status", "kind", "labels", "accuracy", "made", "verdict"):
        table.add_column(column, justify="right" if column == "labels" else "left")
    styles = {"served": "green", "refused": "red", "candidate": "yellow"}
    for record in records:
        table.add_row(
            record.name,
            f"[{styles.get(record.status, 'default')}]{record.status}[/]",
            record.kind,
            str(record.labels),
            _accuracy(record),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created_at)),
            record.verdict.replace("[", r"\["),
        )
    return table


def _accuracy(record: VersionRecord) -> str:
    known = record.metrics.get("accuracy")
    if not known:
        return ""
    return f"{known['value']:.1%} ({known['low']:.1%} to {known['high']:.1%})"
