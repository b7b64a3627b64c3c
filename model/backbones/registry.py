"""Families of pretrained backbones, one file each, and how a name finds its backbone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from model.registry import Registry, UnknownNameError, unknown

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BackboneSpec:
    """What it takes to prepare images for a backbone and to keep its embeddings apart."""

    name: str  # "FAMILY:MODEL", as in the settings
    dim: int  # length of one embedding
    input_size: int  # side of the square input, pixels
    crop_pct: float  # the input is this share of the resized image's shorter side
    mean: tuple[float, float, float]  # subtracted from RGB in [0, 1]
    std: tuple[float, float, float]  # divides what is left
    interpolation: str  # "bicubic" or "bilinear", antialiased
    digest: str  # SHA-256 of the weights' file, hex


class UnknownBackboneError(UnknownNameError):
    """No backbone has this name. The message names near matches."""


class Family(Protocol):
    """A source of backbones, registered by its prefix. Only `build` may import torch."""

    def models(self) -> tuple[str, ...]:
        """The models that can be asked for, without the family's prefix."""
        ...

    def spec(self, model: str) -> BackboneSpec | None:
        """What is known of the model; None when the family doesn't have it."""
        ...

    def build(self, model: str) -> "torch.nn.Module":
        """The module with its weights, in eval mode: images [N, 3, H, W] to features [N, D]."""
        ...


FAMILIES: Registry[Callable[[], Family]] = Registry("backbone family", "model.backbones")


def backbone_names() -> list[str]:
    """Every "FAMILY:MODEL" that can be asked for, sorted."""
    return sorted(f"{name}:{m}" for name in FAMILIES.names() for m in FAMILIES.get(name)().models())


def get_backbone(name: str) -> BackboneSpec:
    """The backbone called "FAMILY:MODEL". Imports no torch. Raises UnknownBackboneError."""
    family, _, model = name.partition(":")
    spec = FAMILIES.get(family)().spec(model) if family in FAMILIES.names() else None
    if spec is None:
        raise UnknownBackboneError(unknown("backbone", name, backbone_names()))
    return spec


def build_module(spec: BackboneSpec) -> "torch.nn.Module":
    """The backbone in eval mode: normalised images [N, 3, H, W] to features [N, D], float32."""
    family, _, model = spec.name.partition(":")
    return FAMILIES.get(family)().build(model)
