"""`apprentice doctor`."""

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.text import Text

from backend.cli.options import AsJson
from backend.cli.store_access import load_settings
from backend.doctor.checks import Check, Level

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.BROKEN: "bold red"}


def doctor(as_json: AsJson = False) -> None:
    """Check that everything works together, and say what to do where it doesn't."""
    from backend.doctor.machine import examine

    settings = load_settings()
    checks: list[Check] = []
    console = Console(soft_wrap=True, highlight=False)
    for check in examine(settings):
        checks.append(check)
        if not as_json:
            console.print(_line(check))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    elif all(check.level is Level.OK for check in checks):
        console.print("Everything works together.")
    if any(check.level is Level.BROKEN for check in checks):
        raise typer.Exit(1)


def _line(check: Check) -> Text:
    line = Text()
    line.append(f"{check.level.value:8}", style=STYLES[check.level])
    line.append(f"{check.name}: ", style="bold")
    line.append(check.message)
    if check.advice:
        line.append(f"\n{'':8}-> {check.advice}", style=STYLES[check.level])
    return line
