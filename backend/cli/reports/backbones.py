"""`apprentice backbones`."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from backend.cli.errors import CommandError
from backend.cli.options import AsJson
from backend.cli.output import grid
from backend.cli.store_access import load_settings

if TYPE_CHECKING:
    from model.backbones import FamilyListing

MAX_SHOWN = 40  # names; JSON has them all

Word = Annotated[
    str | None, typer.Argument(help="Look for names that contain this, of all known models.")
]


@dataclass(frozen=True)
class _ListedBackbone:
    """A backbone that can be chosen by name."""

    name: str
    family: str
    local: bool  # its weights are on this machine


def backbones(word: Word = None, as_json: AsJson = False) -> None:
    """List the pretrained backbones that are usable here."""
    from model.backbones import list_families
    from services.embedding.backbones import backbone_folder

    settings = load_settings()
    console = Console(highlight=False)
    with console.status("Looking at what is installed", spinner="dots"):
        families = list_families(backbone_folder(settings), everything=word is not None)
    listed = [
        _ListedBackbone(name, family.family, name in family.local)
        for family in families
        for name in (family.local if word is None else family.models)
        if word is None or word.lower() in name.lower()
    ]
    if as_json:
        plain = {
            "default": settings.backbone,
            "backbones": [asdict(backbone) for backbone in listed],
            "families": [_family_json(family) for family in families],
        }
        typer.echo(json.dumps(plain, indent=2))
        return
    if word is not None and not listed:
        raise CommandError(f"no backbone's name contains {word!r}")
    _show(console, listed, settings.backbone, searched=word is not None)
    if word is None:
        _show_families(console, families)


def _family_json(family: "FamilyListing") -> dict[str, object]:
    return {
        "family": family.family,
        "pattern": family.pattern,
        "help": family.help,
        "usable": family.missing is None and family.problem is None,
        "install": family.missing,
        "problem": family.problem,
    }


def _show(console: Console, listed: list[_ListedBackbone], default: str, *, searched: bool) -> None:
    table = grid()
    for backbone in listed[:MAX_SHOWN]:
        notes = ["the default here"] if backbone.name == default else []
        if searched:
            notes.append("on this machine" if backbone.local else "to be downloaded")
        table.add_row(f"  {backbone.name}", ", ".join(notes))
    if not searched:
        console.print("Ready, without a network", style="bold")
    console.print(table)
    if len(listed) > MAX_SHOWN:
        console.print(f"  and {len(listed) - MAX_SHOWN} more: name more of it, or use --json")


def _show_families(console: Console, families: list["FamilyListing"]) -> None:
    console.print("\nWhat can be asked for", style="bold")
    for family in families:
        console.print(f"  {family.pattern}: {family.help}", markup=False, soft_wrap=True)
        if note := family.problem or family.missing:
            console.print(f"    needs: {note}", markup=False, soft_wrap=True, style="yellow")
    console.print(
        "\nChoose one with APPRENTICE_BACKBONE, or for one project by "
        "`apprentice train --project ID --backbone NAME`. `apprentice backbones WORD` looks for "
        "names.",
        markup=False,
        soft_wrap=True,
    )
