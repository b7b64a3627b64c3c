"""`apprentice versions`, `rollback` and `promote`."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from backend.commands.common import (
    CommandError,
    database_file,
    find_or_fail,
    load_settings,
    open_store,
)
from backend.versions import VersionRecord, as_json, decide, version_records
from store.projects import Project
from store.store import Store
from worker.republishing import VersionError


def run(project: int, connection: str, *, json_wanted: bool) -> None:
    """Print the project's versions."""
    with _opened(project, connection) as (store, known), store.database.read() as db:
        records = version_records(db, known.id)
    if json_wanted:
        typer.echo(json.dumps(as_json(records), indent=2))
    elif not records:
        typer.echo("No version yet: label a few tasks of at least two classes.")
    else:
        Console(highlight=False).print(_table(records))
        if known.held_at is not None:
            typer.echo("Held by a rollback: `apprentice promote` lets new versions be served.")


def run_decision(
    action: str, project: int, connection: str, name: str | None, *, json_wanted: bool
) -> None:
    """Have another version served: `action` is rollback or promote."""
    with _opened(project, connection) as (store, known):
        try:
            decision = decide(store, known, action, name)
        except VersionError as error:
            raise CommandError(str(error)) from None
    if json_wanted:
        typer.echo(json.dumps(asdict(decision), indent=2))
        return
    typer.echo(f"{decision.version} is on its way to Label Studio.")
    if decision.held:
        typer.echo("Later versions wait until `apprentice promote`.")


@contextmanager
def _opened(project: int, connection: str) -> Iterator[tuple[Store, Project]]:
    settings = load_settings()
    file = database_file(settings)
    if file is not None and not file.exists():
        raise CommandError(
            f"nothing is remembered in {settings.home} yet: start `apprentice up` "
            "(or set APPRENTICE_HOME)"
        )
    with open_store(settings, migrate=False) as store:
        yield store, find_or_fail(store, connection, project)


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
