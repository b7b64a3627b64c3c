"""The manifest of a version: label config, backbone, seed and code."""

import importlib.metadata
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from model.backbones import BackboneUnavailableError, UnknownBackboneError, get_backbone
from model.targets.schema import schema_json
from store.projects.embedding_spaces import backbone_of
from studio.config import LabelConfig

PACKAGE = "label-studio-apprentice"


def provenance(
    config: LabelConfig, space: str, *, labels: int, seed: int, backbones: Path
) -> dict[str, Any]:
    """The version's origin as plain JSON: enough to train it again from the same labels.

    Args:
        space: of the embeddings, "FAMILY:MODEL@PRECISION".
        labels: tasks that it was trained and measured on.
        backbones: the folder where this machine keeps what it knows of backbones.
    """
    return {
        "controls": {control.name: schema_json(control.schema) for control in config.controls},
        "backbone": _backbone(space, backbones),
        "labels": labels,
        "seed": seed,
        "code": code_version(),
    }


@cache
def code_version() -> str:
    """The version of the installed Apprentice."""
    return importlib.metadata.version(PACKAGE)


def _backbone(space: str, backbones: Path) -> dict[str, Any]:
    """The backbone with its preprocessing; its name alone where this machine lacks it."""
    name = backbone_of(space)
    facts: dict[str, Any] = {"name": name, "precision": space.rpartition("@")[2]}
    try:
        return asdict(get_backbone(name, backbones)) | facts
    except (UnknownBackboneError, BackboneUnavailableError):
        return facts
