"""`apprentice advice`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli.errors import CommandError
from backend.cli.options import AsJson, Connection, Project
from backend.cli.store_access import open_project
from store.work.work_kind import WorkKind

if TYPE_CHECKING:
    from sqlalchemy import Connection as DatabaseConnection

GoalAccuracy = Annotated[
    str | None, typer.Option("--goal", help="Accuracy to be reached, such as 95%, or off.")
]
AcceptError = Annotated[
    str | None,
    typer.Option(help="Accept sure suggestions unseen, of which at most this share is wrong."),
]
Write = Annotated[
    bool | None,
    typer.Option(help="Write what is accepted to Label Studio, or only mark it (default)."),
]


def advice(
    project: Project,
    goal: GoalAccuracy = None,
    accept_error: AcceptError = None,
    write: Write = None,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Show the accuracy of suggestions, the gain of more labels, and when to stop."""
    from backend.views.advice import advice_status
    from store.projects.goals import change_goal
    from store.work import pending_work

    changes = _goal_changes(goal, accept_error, write)
    with open_project(connection, project) as (store, connected):

        def change(db: "DatabaseConnection") -> None:
            change_goal(db, connected.id, **changes)
            pending_work.want(db, connected.id, WorkKind.LEARN)

        if changes:
            store.database.write(change)
        with store.database.read() as db:
            status = advice_status(db, connected)
    if as_json:
        typer.echo(json.dumps(asdict(status), indent=2))
    elif not status.sentences:
        typer.echo("Nothing is known yet: it is looked at when a version is learned.")
    else:
        for sentence in status.sentences:
            typer.echo(sentence)


def _goal_changes(goal: str | None, accept_error: str | None, write: bool | None) -> dict[str, Any]:
    """The fields of the goal that the options change."""
    changes: dict[str, Any] = {}
    if goal is not None:
        changes["accuracy"] = _share(goal, "--goal", "0.95 or 95%")
    if accept_error is not None:
        changes["accept_error"] = _share(accept_error, "--accept-error", "0.05 or 5%")
    if write is not None:
        changes["accept_writes"] = write
    return changes


def _share(text: str, option: str, example: str) -> float | None:
    """Parse a share such as the `example`; None for "off".

    Raises:
        CommandError: the text is no share and not "off".
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
