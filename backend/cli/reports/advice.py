"""`apprentice advice`."""

import json
from dataclasses import asdict
from typing import Any

import typer
from sqlalchemy import Connection

from backend.cli.common import CommandError, open_project
from backend.views.advice import advice_status
from store.projects.goals import change_goal
from store.work import pending_work
from store.work.work_kind import WorkKind


def run(
    project: int,
    connection: str,
    goal: str | None,
    accept_error: str | None,
    *,
    write: bool | None,
    as_json: bool,
) -> None:
    """Print what is advised, after changing what was given of the project's goal."""
    changes: dict[str, Any] = {}
    if goal is not None:
        changes["accuracy"] = _share(goal, "--goal", "0.95 or 95%")
    if accept_error is not None:
        changes["accept_error"] = _share(accept_error, "--accept-error", "0.05 or 5%")
    if write is not None:
        changes["accept_writes"] = write
    with open_project(connection, project) as (store, known):

        def change(db: Connection) -> None:
            change_goal(db, known.id, **changes)
            pending_work.want(db, known.id, WorkKind.LEARN)

        if changes:
            store.database.write(change)
        with store.database.read() as db:
            found = advice_status(db, known)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    elif not found.sentences:
        typer.echo("Nothing is known yet: it is looked at when a version is learned.")
    else:
        for sentence in found.sentences:
            typer.echo(sentence)


def _share(text: str, option: str, example: str) -> float | None:
    """A share such as the `example`, or None for "off".

    Raises:
        CommandError: it is none of them.
    """
    if text.strip().lower() == "off":
        return None
    try:
        share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise CommandError(
            f"{option} takes a share such as {example}, or off: not {text!r}", code=2
        )
    return share
