"""`apprentice backbones`."""

import json
from dataclasses import asdict, dataclass

import typer
from rich.console import Console
from rich.table import Table

from backend.cli.common import CommandError, load_settings
from model.backbones import FamilyListing, list_families
from services.embedding.backbones import backbone_folder

MOST_FOUND = 40  # names shown to a person; JSON has them all


@dataclass(frozen=True)
class _Found:
    """One backbone that can be asked for by name."""

    name: str
    family: str
    local: bool  # its weights are on this machine


def run(pattern: str | None, *, as_json: bool) -> None:
    """Print what is usable here, or every known name that contains `pattern`."""
    settings = load_settings()
    console = Console(highlight=False)
    with console.status("Looking at what is installed", spinner="dots"):
        families = list_families(backbone_folder(settings), everything=pattern is not None)
    found = [
        _Found(name, family.family, name in family.local)
        for family in families
        for name in (family.local if pattern is None else family.models)
        if pattern is None or pattern.lower() in name.lower()
    ]
    if as_json:
        plain = {
            "default": settings.backbone,
            "backbones": [asdict(backbone) for backbone in found],
            "families": [_family_json(family) for family in families],
        }
        typer.echo(json.dumps(plain, indent=2))
        return
    if pattern is not None and not found:
        raise CommandError(f"no backbone's name contains {pattern!r}")
    _show(console, found, settings.backbone, searched=pattern is not None)
    if pattern is None:
        _show_families(console, families)


def _family_json(family: FamilyListing) -> dict[str, object]:
    return {
        "family": family.family,
        "pattern": family.pattern,
        "help": family.help,
        "usable": family.missing is None and family.problem is None,
        "install": family.missing,
        "problem": family.problem,
    }


def _show(console: Console, found: list[_Found], default: str, *, searched: bool) -> None:
    table = Table.grid(padding=(0, 2))
    for backbone in found[:MOST_FOUND]:
        notes = ["the default here"] if backbone.name == default else []
        if searched:
            notes.append("on this machine" if backbone.local else "to be downloaded")
        table.add_row(f"  {backbone.name}", ", ".join(notes))
    if not searched:
        console.print("Ready, without a network", style="bold")
    console.print(table)
    if len(found) > MOST_FOUND:
        console.print(f"  and {len(found) - MOST_FOUND} more: name more of it, or use --json")


def _show_families(console: Console, families: list[FamilyListing]) -> None:
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
