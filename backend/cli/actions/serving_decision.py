"""Serves another version and prints the decision, for `rollback` and `promote`."""

import json
from dataclasses import asdict

import typer

from backend.cli.errors import CommandError
from backend.cli.store_access import open_project
from backend.views.versions import decide
from services.versions.rollback import VersionError


def serve_version(
    action: str, project: int, connection: str, name: str | None, *, as_json: bool
) -> None:
    """Serve another version; `action` is rollback or promote."""
    with open_project(connection, project) as (store, connected):
        try:
            decision = decide(store, connected, action, name)
        except VersionError as error:
            raise CommandError(str(error)) from None
    if as_json:
        typer.echo(json.dumps(asdict(decision), indent=2))
        return
    typer.echo(f"{decision.version} is on its way to Label Studio.")
    if decision.held:
        typer.echo(f"Later versions wait until `apprentice promote --project {project}`.")
