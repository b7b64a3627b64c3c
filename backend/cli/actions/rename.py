"""`apprentice rename`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.errors import CommandError
from backend.cli.options import AsJson, Connection, Project
from backend.cli.store_access import open_project

if TYPE_CHECKING:
    from services.labels.renaming import NameChange, UnknownName

Old = Annotated[str | None, typer.Argument(help='The name in labels, such as "animal / cat".')]
New = Annotated[str | None, typer.Argument(help="Its name in the label config now.")]
OfControl = Annotated[
    str | None, typer.Option("--control", help="The control tag whose class it is.")
]
OfTag = Annotated[bool, typer.Option("--tag", help="The names are of control tags, not classes.")]
Undo = Annotated[bool, typer.Option("--undo", help="Forget the rename of OLD.")]


def rename(
    project: Project,
    old: Old = None,
    new: New = None,
    control: OfControl = None,
    tag: OfTag = False,
    undo: Undo = False,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Map classes that labels name and the config no longer has; without names, list them."""
    from services.labels.renaming import RenameError, change_name, list_renames, unknown_names

    listing = old is None and new is None and not undo
    if not listing and (old is None or (new is None) != undo):
        raise CommandError("give OLD and NEW, or OLD with --undo, or neither for a list", code=2)
    with open_project(connection, project) as (store, connected):
        if old is None:
            with store.database.read() as db:
                _show(list_renames(connected), unknown_names(db, connected), as_json=as_json)
            return
        try:
            change = store.database.write(
                lambda db: change_name(
                    db, connected, old, None if undo else new, control=control, tag=tag
                )
            )
        except RenameError as error:
            raise CommandError(str(error)) from None
    if as_json:
        typer.echo(json.dumps(asdict(change), indent=2))
    elif undo:
        typer.echo(f"Labels that say {change.old} count as they are written again.")
    else:
        typer.echo(f"Labels that say {change.old} count as {change.new} from now on.")


def _show(changes: "list[NameChange]", unknown: "list[UnknownName]", *, as_json: bool) -> None:
    if as_json:
        plain = {"renames": [*map(asdict, changes)], "unknown": [*map(asdict, unknown)]}
        typer.echo(json.dumps(plain, indent=2))
        return
    for change in changes:
        of = "control tag" if change.control is None else change.control
        typer.echo(f"{of}: {change.old} counts as {change.new}")
    for each in unknown:
        labels = "1 label names" if each.labels == 1 else f"{each.labels} labels name"
        what = f"the control tag {each.control}" if each.name is None else each.name
        of = "" if each.name is None else f" in {each.control}"
        now = f"; its alias is {each.suggestion}" if each.suggestion else ""
        typer.echo(f"{labels} {what}{of}, which the config doesn't have{now}")
    if not changes and not unknown:
        typer.echo("All labels name classes and control tags that the config has.")
