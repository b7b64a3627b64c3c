"""What backbones there are, for people to choose from."""

from dataclasses import dataclass
from pathlib import Path

from model.backbones.registry import FAMILIES, BackboneUnavailableError


@dataclass(frozen=True)
class FamilyListing:
    """One family, as this machine has it. Names have the family's prefix."""

    family: str
    pattern: str  # what a name looks like
    help: str  # what it is, in a few words
    missing: str | None  # the command that installs what it needs; None when nothing is missing
    problem: str | None  # why its names couldn't be listed
    local: tuple[str, ...]  # usable without a network
    models: tuple[str, ...]  # all that can be asked for by name, if that was wanted


def list_families(folder: Path | None, *, everything: bool = False) -> list[FamilyListing]:
    """All families by name; imports no torch, but processes that do are started: some seconds.

    `everything`: with the names of all models that could be downloaded.
    """
    listings = []
    for name in FAMILIES.names():
        family = FAMILIES.get(name)()
        missing = family.missing()
        local: tuple[str, ...] = ()
        models: tuple[str, ...] = ()
        problem = None
        try:
            local = family.local(folder) if missing is None else ()
            models = family.models() if everything and missing is None else ()
        except BackboneUnavailableError as error:  # the others can be listed still
            problem = str(error)
        listings.append(
            FamilyListing(
                family=name,
                pattern=family.pattern,
                help=family.help,
                missing=missing,
                problem=problem,
                local=tuple(f"{name}:{model}" for model in local),
                models=tuple(f"{name}:{model}" for model in models),
            )
        )
    return listings
