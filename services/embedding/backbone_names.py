"""Checks backbone names that a person enters."""

from model.backbones import UnknownBackboneError, get_backbone
from services.embedding.backbones import backbone_folder
from store.settings import Settings

DEFAULT = "default"


class WrongBackboneError(Exception):
    """No backbone has that name; the message lists similar names."""


def check_backbone_name(settings: Settings, name: str) -> str | None:
    """Check and return the backbone's name; None for "default", the one of the settings.

    What only shows when its weights are opened is told by the project's status.

    Raises:
        WrongBackboneError: there is none.
    """
    if name == DEFAULT:
        return None
    try:
        get_backbone(name, backbone_folder(settings))
    except UnknownBackboneError as error:
        raise WrongBackboneError(str(error)) from None
    except Exception:  # noqa: S110 - this machine may lack what the workers have
        pass
    return name
