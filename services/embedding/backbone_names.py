"""Checks backbone names that a person enters."""

from model.backbones import UnknownBackboneError, get_backbone
from model.backbones.registry import FAMILIES
from services.embedding.backbones import backbone_folder
from store.settings import Settings

DEFAULT = "default"


class WrongBackboneError(Exception):
    """No backbone has that name; the message lists similar names."""


def check_backbone_name(settings: Settings, name: str, *, paths: bool = True) -> str | None:
    """Check and return the backbone's name; None for "default", the one of the settings.

    What only shows when its weights are opened is told by the project's status.

    Args:
        paths: accept names with the path of a file. Who may not look into this machine's folders
            must not find out by them which files there are.

    Raises:
        WrongBackboneError: there is none.
    """
    if name == DEFAULT:
        return None
    if not paths and is_path(name):
        raise WrongBackboneError(
            "a backbone of a file is chosen on the machine that has it: `apprentice train "
            "--project ID --backbone NAME`, or APPRENTICE_BACKBONE"
        )
    try:
        get_backbone(name, backbone_folder(settings))
    except UnknownBackboneError as error:
        raise WrongBackboneError(str(error)) from None
    except Exception:  # noqa: S110 - this machine may lack what the workers have
        pass
    return name


def is_path(name: str) -> bool:
    """Whether the name's model is the path of a file or a folder."""
    family, _, model = name.partition(":")
    pattern = FAMILIES.get(family)().pattern if family in FAMILIES.names() else ""
    is_family_of_paths = "PATH" in pattern or "FOLDER" in pattern
    return is_family_of_paths or model.startswith(("/", "~", ".")) or ".." in model
