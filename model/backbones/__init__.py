"""Pretrained backbones by name. A family of them is one file here, registered in `FAMILIES`."""

from model.backbones.registry import (
    BackboneSpec,
    UnknownBackboneError,
    backbone_names,
    build_module,
    get_backbone,
)

__all__ = [
    "BackboneSpec",
    "UnknownBackboneError",
    "backbone_names",
    "build_module",
    "get_backbone",
]
