"""Pretrained backbones, opened by name."""

from model.backbones.listing import FamilyListing, list_families
from model.backbones.registry import (
    BackboneSpec,
    BackboneUnavailableError,
    UnknownBackboneError,
    build_module,
    check_weights,
    get_backbone,
    read_graph,
)

__all__ = [
    "BackboneSpec",
    "BackboneUnavailableError",
    "FamilyListing",
    "UnknownBackboneError",
    "build_module",
    "check_weights",
    "get_backbone",
    "list_families",
    "read_graph",
]
