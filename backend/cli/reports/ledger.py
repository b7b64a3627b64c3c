"""`apprentice ledger`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from backend.cli.options import AsJson, Connection, Project
from backend.cli.output import plain_table
from backend.cli.store_access import open_project

if TYPE_CHECKING:
    from rich.table import Table

    from model.statistics.intervals import Estimate
    from services.reports.ledger import Ledger, Pace, Sway, Tally


def ledger(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """Show the outcomes of suggestions, the time they save, and their influence on people."""
    from services.reports.ledger import read_ledger

    with open_project(connection, project) as (store, connected), store.database.read() as db:
        entries = read_ledger(db, connected)
    if as_json:
        typer.echo(json.dumps(asdict(entries), indent=2))
    elif not entries.annotations:
        typer.echo("Nothing is annotated yet.")
    else:
        _show(Console(highlight=False), entries)


def _show(console: Console, ledger: "Ledger") -> None:
    total = ledger.total
    console.print(
        f"{ledger.annotations} annotations, {total.suggested} of them with a suggestion, "
        f"{ledger.blind} of the control group"
    )
    if total.suggested:
        console.print(f"Suggestions: {_outcomes(total)}")
    if total.pace is not None:
        console.print(_time(total.pace))
    if ledger.seconds_saved is not None:
        console.print(f"All together: {ledger.seconds_saved / 60:+.1f} minutes saved")
    if ledger.sway is not None:
        console.print(_sway(ledger.sway))
    for one in ledger.slow:
        console.print(f"Suggestions slow people down: {escape(one.control)}: {escape(one.name)}")
    console.print("\nAnnotators", style="bold")
    console.print(_annotators(ledger))
    console.print("\nClasses", style="bold")
    console.print(_classes(ledger))


def _outcomes(tally: "Tally") -> str:
    parts = {"kept": tally.kept, "edited": tally.edited, "rejected": tally.rejected}
    return ", ".join(f"{count / tally.suggested:.0%} {name}" for name, count in parts.items())


def _time(pace: "Pace") -> str:
    against = "in the control group" if pace.against == "blind" else "in tasks without a suggestion"
    hint = "" if pace.against == "blind" else " (a hint only: these are harder or earlier ones)"
    return (
        f"Time: {pace.helped:.1f} s with a suggestion, {pace.alone:.1f} s {against}: "
        f"{_saved(pace.saved)} s saved{hint}"
    )


def _sway(sway: "Sway") -> str:
    difference = sway.difference
    return (
        f"Annotators agree with the model in {sway.shown.value:.0%} where they see its answer, "
        f"in {sway.blind.value:.0%} where they don't: {100 * difference.value:+.0f} points "
        f"({100 * difference.low:+.0f} to {100 * difference.high:+.0f})"
    )


def _saved(saved: "Estimate") -> str:
    return f"{saved.value:+z.1f} ({saved.low:+z.1f} to {saved.high:+z.1f})"


def _annotators(ledger: "Ledger") -> "Table":
    table = plain_table(
        "annotator", "suggested", "kept", "edited", "rejected", "seconds saved each"
    )
    for one in ledger.annotators:
        tally = one.tally
        table.add_row(
            "unknown" if one.annotator is None else str(one.annotator),
            *map(str, (tally.suggested, tally.kept, tally.edited, tally.rejected)),
            _saved(tally.pace.saved) if tally.pace else "",
        )
    return table


def _classes(ledger: "Ledger") -> "Table":
    table = plain_table("control", "class", "suggested", "kept", "seconds saved each")
    for one in ledger.classes:
        table.add_row(
            escape(one.control),
            escape(one.name),
            str(one.suggested),
            str(one.kept),
            _saved(one.pace.saved) if one.pace else "",
        )
    return table
