"""Families of pretrained backbones, one file each, and how a name finds its backbone."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from model.registry import Registry, UnknownNameError, unknown

if TYPE_CHECKING:
    import torch


WORKER_EXTRA = "pip install 'label-studio-apprentice[worker]'"


@dataclass(frozen=True)
class BackboneSpec:
    """What it takes to prepare images for a backbone and to keep its embeddings apart."""

    name: str  # "FAMILY:MODEL" or "FAMILY:MODEL?OPTION=VALUE", as in the settings
    dim: int  # length of one embedding
    input_size: int  # height of the input, pixels; its width too unless `input_width` is given
    crop_pct: float  # the input is this share of the resized image's shorter side
    mean: tuple[float, float, float]  # subtracted from RGB in [0, 1]
    std: tuple[float, float, float]  # divides what is left
    interpolation: str  # "bicubic" or "bilinear", antialiased
    digest: str  # SHA-256 of the weights' file, hex
    crop_mode: str = "center"  # or "squash": the aspect ratio isn't kept; "border": padded instead
    input_width: int | None = None  # pixels, where the input isn't square
    exact: bool = True  # the name alone says which weights; else other weights may come under it
    trainable: bool = True  # its module can be fine-tuned

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return self.input_size, self.input_width or self.input_size

    def space(self, precision: str) -> str:
        """Under what embeddings are kept: equal only for the same weights and precision."""
        weights = "" if self.exact else f"#{self.digest[:12]}"
        return f"{self.name}{weights}@{precision}"


class UnknownBackboneError(UnknownNameError):
    """No backbone has this name. The message names near matches."""


class BackboneUnavailableError(RuntimeError):
    """The backbone can't be had here. The message says what is missing and where it was sought."""


class Family(Protocol):
    """A source of backbones, registered by its prefix; a family inherits from this class.

    Only `build` and `graph` may import torch. `folder` is where this installation keeps what it
    makes of backbones; None: nowhere.
    """

    pattern: str  # what a name of the family looks like, for people: "timm:MODEL"
    help: str  # what it is, in a few words

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        """What is known of the model; None when the family doesn't have it.

        Raises UnknownBackboneError for a wrong option, BackboneUnavailableError.
        """
        ...

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        """The module with its weights, in eval mode: images [N, 3, H, W] to features [N, D].

        Raises BackboneUnavailableError.
        """
        ...

    def models(self) -> tuple[str, ...]:
        """The models that can be asked for, without the prefix; none where any file can be."""
        return ()

    def local(self, folder: Path | None) -> tuple[str, ...]:
        """Those of them that need no network here."""
        return ()

    def check(self, model: str) -> None:
        """Raise BackboneUnavailableError when the weights of a spec at hand aren't at hand."""

    def missing(self) -> str | None:
        """The command that installs what the family needs; None when everything is there."""
        return None

    def graph(self, model: str) -> Any | None:
        """OpenVINO's model of images [N, H, W, 3], where OpenVINO reads the family's files by
        itself; None where the module is to be traced."""
        return None


FAMILIES: Registry[Callable[[], Family]] = Registry("backbone family", "model.backbones.families")


def get_backbone(name: str, folder: Path | None = None) -> BackboneSpec:
    """The backbone called "FAMILY:MODEL". Imports no torch here: where it takes torch to tell, a
    process of its own looks, which takes seconds, and what it found is kept in `folder`. Weights
    that aren't here yet are downloaded then.

    Raises:
        UnknownBackboneError: the family has no such model.
        BackboneUnavailableError: its weights, or a package that it needs, can't be had.
    """
    family, _, model = name.partition(":")
    if family not in FAMILIES.names():
        raise UnknownBackboneError(_unknown_family(name, family, model))
    entry = FAMILIES.get(family)()
    spec = entry.spec(model, folder)
    if spec is None:
        known = [f"{family}:{known}" for known in entry.models()]
        raise UnknownBackboneError(unknown("backbone", name, known or [entry.pattern]))
    return spec


def build_module(spec: BackboneSpec, folder: Path | None = None) -> "torch.nn.Module":
    """The backbone in eval mode: normalised images [N, 3, H, W] to features [N, D], float32.

    Raises BackboneUnavailableError.
    """
    family, _, model = spec.name.partition(":")
    return FAMILIES.get(family)().build(model, folder)


def check_weights(spec: BackboneSpec) -> None:
    """Raise BackboneUnavailableError when the weights that `build_module` needs aren't here."""
    family, _, model = spec.name.partition(":")
    FAMILIES.get(family)().check(model)


def read_graph(spec: BackboneSpec) -> Any | None:
    """`Family.graph` of a backbone."""
    family, _, model = spec.name.partition(":")
    return FAMILIES.get(family)().graph(model)


def _unknown_family(name: str, family: str, model: str) -> str:
    near = difflib.get_close_matches(family, FAMILIES.names(), n=1, cutoff=0.6)
    if model and near:
        return unknown("backbone", name, [f"{near[0]}:{model}"])
    bundled = [f"bundled:{known}" for known in FAMILIES.get("bundled")().models()]
    patterns = [FAMILIES.get(other)().pattern for other in FAMILIES.names() if other != "bundled"]
    return unknown("backbone", name, bundled + patterns)
