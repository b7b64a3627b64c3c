"""The registry of backbone families, and opening a backbone by name."""

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
    """A backbone's input preprocessing, its embedding size, and the digest of its weights."""

    name: str  # "FAMILY:MODEL" or "FAMILY:MODEL?OPTION=VALUE", as in the settings
    dim: int  # length of one embedding
    input_size: int  # height of the input, pixels; its width too unless `input_width` is given
    crop_pct: float  # the input is this share of the resized image's shorter side
    mean: tuple[float, float, float]  # subtracted from RGB in [0, 1]
    std: tuple[float, float, float]  # divides the difference
    interpolation: str  # "bicubic" or "bilinear", antialiased
    digest: str  # SHA-256 of the weights' file, hex
    crop_mode: str = "center"  # or "squash": aspect ratio changed; "border": padded
    input_width: int | None = None  # pixels, where the input isn't square
    exact: bool = True  # the name determines the weights; else the digest is needed too
    trainable: bool = True  # its module can be fine-tuned

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return self.input_size, self.input_width or self.input_size

    def space(self, precision: str) -> str:
        """The key of its embedding space: equal only for the same weights and precision."""
        weights = "" if self.exact else f"#{self.digest[:12]}"
        return f"{self.name}{weights}@{precision}"


class UnknownBackboneError(UnknownNameError):
    """No backbone has this name. The message names near matches."""


class BackboneUnavailableError(RuntimeError):
    """The backbone can't be opened here. The message says what is missing, and where."""


class Family(Protocol):
    """A source of backbones, registered by its prefix; a family inherits from this class.

    Only `build` and `graph` may import torch. `folder` is where this installation caches
    specs and fine-tuned weights; None: nowhere.
    """

    pattern: str  # of a name of the family: "timm:MODEL"
    help: str  # one phrase

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        """The model's spec; None when the family has no such model.

        Raises UnknownBackboneError for a wrong option, BackboneUnavailableError.
        """
        ...

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        """The module with its weights, in eval mode: images [N, 3, H, W] to features [N, D].

        Raises BackboneUnavailableError.
        """
        ...

    def models(self) -> tuple[str, ...]:
        """The models by name, without the prefix; none where the name is a path."""
        return ()

    def local(self, folder: Path | None) -> tuple[str, ...]:
        """The models whose weights are on this machine."""
        return ()

    def check(self, model: str) -> None:
        """Raise BackboneUnavailableError when the model's weights aren't on this machine."""

    def missing(self) -> str | None:
        """The command that installs missing packages; None when all are installed."""
        return None

    def graph(self, model: str) -> Any | None:
        """OpenVINO's model of images [N, H, W, 3], where OpenVINO reads the family's files.

        None where the PyTorch module is traced instead.
        """
        return None


FAMILIES: Registry[Callable[[], Family]] = Registry("backbone family", "model.backbones.families")


def get_backbone(name: str, folder: Path | None = None) -> BackboneSpec:
    """Return the spec of the backbone "FAMILY:MODEL", without importing torch.

    Where torch is needed, a subprocess inspects the model: it takes seconds, downloads missing
    weights, and its result is cached in `folder`.

    Raises:
        UnknownBackboneError: the family has no such model.
        BackboneUnavailableError: its weights or a package are missing.
    """
    family, _, model = name.partition(":")
    if family not in FAMILIES.names():
        raise UnknownBackboneError(_unknown_family(name, family, model))
    entry = FAMILIES.get(family)()
    spec = entry.spec(model, folder)
    if spec is None:
        names = [f"{family}:{other}" for other in entry.models()]
        raise UnknownBackboneError(unknown("backbone", name, names or [entry.pattern]))
    return spec


def build_module(spec: BackboneSpec, folder: Path | None = None) -> "torch.nn.Module":
    """Build the backbone in eval mode: normalised images [N, 3, H, W] to features [N, D], float32.

    Raises BackboneUnavailableError.
    """
    family, _, model = spec.name.partition(":")
    return FAMILIES.get(family)().build(model, folder)


def check_weights(spec: BackboneSpec) -> None:
    """Raise BackboneUnavailableError when the weights for `build_module` are missing."""
    family, _, model = spec.name.partition(":")
    FAMILIES.get(family)().check(model)


def read_graph(spec: BackboneSpec) -> Any | None:
    """Return `Family.graph` of a backbone."""
    family, _, model = spec.name.partition(":")
    return FAMILIES.get(family)().graph(model)


def _unknown_family(name: str, family: str, model: str) -> str:
    near = difflib.get_close_matches(family, FAMILIES.names(), n=1, cutoff=0.6)
    if model and near:
        return unknown("backbone", name, [f"{near[0]}:{model}"])
    bundled = [f"bundled:{other}" for other in FAMILIES.get("bundled")().models()]
    patterns = [FAMILIES.get(other)().pattern for other in FAMILIES.names() if other != "bundled"]
    return unknown("backbone", name, bundled + patterns)
