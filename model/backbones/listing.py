"""Lists the families of backbones and their models."""

from dataclasses import dataclass
from pathlib import Path

from model.backbones.registry import FAMILIES, BackboneUnavailableError


@dataclass(frozen=True)
class FamilyListing:
    """A family and its models on this machine; names have the family's prefix."""

    family: str
    pattern: str  # of a name: "timm:MODEL"
    help: str  # one phrase
    missing: str | None  # the command that installs missing packages; None when all are there
    problem: str | None  # why its names couldn't be listed
    local: tuple[str, ...]  # usable without a network
    models: tuple[str, ...]  # all names, if `everything` was asked for


def list_families(folder: Path | None, *, everything: bool = False) -> list[FamilyListing]:
    """List all families, sorted by name.

    It takes seconds: torch is imported in subprocesses. `everything` also lists the models that can
    be downloaded. `folder` is as in `get_backbone`.
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
        except BackboneUnavailableError as error:  # the other families are still listed
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
