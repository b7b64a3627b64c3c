"""Files of weights for models of timm or torchvision: safetensors, or a state dict.

`file:/path/weights.safetensors?model=timm:resnet18` or `?model=torchvision:vgg16`. The weights of a
classifier are left out; every other weight of the model must be in the file.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from model.backbones.families import timm_models, torchvision_models
from model.backbones.inspection import Inspection, digest_of, inspect_spec
from model.backbones.options import split_options
from model.backbones.registry import (
    FAMILIES,
    BackboneSpec,
    BackboneUnavailableError,
    Family,
    UnknownBackboneError,
)
from model.backbones.weights import existing_file, read_state_dict

if TYPE_CHECKING:
    import torch

OPTIONS = ("model", "size")
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
SOURCES = {"timm": timm_models, "torchvision": torchvision_models}

# Prefixes by DataParallel, torch.compile and Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.")


@FAMILIES.register("file")
class WeightFile(Family):
    """The family `file`."""

    pattern = "file:PATH?model=FAMILY:MODEL"
    help = "weights from a .safetensors or .pth file, for a model of timm or torchvision"

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        _parts(model)
        return inspect_spec("file", model, folder)

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        path, family, name, options = _parts(model)
        module: torch.nn.Module = SOURCES[family].architecture(name, {})
        load_weights(module, path)
        SOURCES[family].resize(module, options)
        return module

    def inspect(self, model: str) -> Inspection | None:
        path, family, name, options = _parts(model)
        self.build(model, None)
        spec = SOURCES[family].measured_spec(f"file:{model}", name, options, digest_of([path]))
        return Inspection(spec, (path,))


def load_weights(module: "torch.nn.Module", path: Path) -> None:
    """Load a file's weights into a feature extractor. Raises BackboneUnavailableError."""
    state = read_state_dict(path)
    wanted = module.state_dict()
    while state and (prefix := _common_prefix(state, wanted)):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    fitting = {k: v for k, v in state.items() if k in wanted and v.shape == wanted[k].shape}
    missing = [key for key in wanted if key not in fitting and "num_batches_tracked" not in key]
    if missing:
        raise BackboneUnavailableError(
            f"{path} doesn't fit the model: {len(missing)} of {len(wanted)} weights are missing or "
            f"of another shape, such as {', '.join(missing[:3])}; "
            f"it has {', '.join(list(state)[:3])}"
        )
    module.load_state_dict(fitting, strict=False)


def _common_prefix(state: dict[str, "torch.Tensor"], wanted: dict[str, "torch.Tensor"]) -> str:
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in wanted):
            continue
        inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if any(key in wanted or key.startswith(PREFIXES) for key in inner):
            return prefix
    return ""


def _parts(model: str) -> tuple[Path, str, str, dict[str, str]]:
    """Split a name into the file, and the family, model and options of its architecture."""
    name, options = split_options(model, OPTIONS)
    family, _, architecture = options.pop("model", "").partition(":")
    if family not in SOURCES or not architecture:
        raise UnknownBackboneError(
            f"file:{model}: say which model the weights are for, such as "
            f"file:{name}?model=timm:resnet18 or ?model=torchvision:resnet18"
        )
    path = existing_file(f"file:{model}", name, SUFFIXES)
    return path, family, architecture, options
