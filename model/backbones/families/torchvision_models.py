"""Torchvision's classification models, with the transforms of their weights.

`torchvision:resnet50` takes the default weights; `torchvision:resnet50.IMAGENET1K_V1` names some.
"""

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.backbones.inspection import Inspection, digest_of, inspect_names, inspect_spec
from model.backbones.options import size_option, split_options
from model.backbones.registry import (
    FAMILIES,
    WORKER_EXTRA,
    BackboneSpec,
    BackboneUnavailableError,
    Family,
)
from model.backbones.weights import (
    Source,
    feature_count,
    find_weights,
    local_weights,
    read_state_dict,
)

if TYPE_CHECKING:
    import torch

OPTIONS = ("size",)

CLASSES = 1000  # of each classifier: ImageNet's

# Densenet's files have names of an older torch, in which modules could have dots.
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


@FAMILIES.register("torchvision")
class Torchvision(Family):
    """The family `torchvision`."""

    pattern = "torchvision:MODEL"
    help = "a pretrained classification model of torchvision"

    def models(self) -> tuple[str, ...]:
        return inspect_names("torchvision")

    def local(self, folder: Path | None) -> tuple[str, ...]:
        return inspect_names("torchvision", local=True)

    def missing(self) -> str | None:
        return None if find_spec("torchvision") else WORKER_EXTRA

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        if (command := self.missing()) is not None:
            raise BackboneUnavailableError(f"torchvision:{model} needs torchvision: {command}")
        return inspect_spec("torchvision", model, folder)

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        name, options = split_options(model, OPTIONS)
        path = find_weights(f"torchvision:{model}", sources(name))
        return architecture(name, options, weights=path)

    def inspect(self, model: str) -> Inspection | None:
        name, options = split_options(model, OPTIONS)
        if weights_of(name) is None:
            return None
        path = find_weights(f"torchvision:{model}", sources(name))
        digest = digest_of([path])
        return Inspection(
            measured_spec(f"torchvision:{model}", name, options, digest), (path.resolve(),)
        )

    def list_names(self) -> tuple[str, ...]:
        import torchvision

        names: list[str] = []
        for name in torchvision.models.list_models(module=torchvision.models):
            tags = torchvision.models.get_model_weights(name)
            names += [name, *(f"{name}.{tag.name}" for tag in tags)]
        return tuple(names)

    def list_local(self) -> tuple[str, ...]:
        return tuple(
            name for name in self.list_names() if "." in name and local_weights(sources(name))
        )


def weights_of(name: str) -> Any | None:
    """Return the weights enum of "MODEL" or "MODEL.WEIGHTS"; None when there is none."""
    import torchvision

    model, _, tag = name.partition(".")
    if model not in torchvision.models.list_models(module=torchvision.models):
        return None
    return getattr(torchvision.models.get_model_weights(model), tag or "DEFAULT", None)


def sources(name: str) -> list[Source]:
    """List the sources of the weights of torchvision's model."""
    weights = weights_of(name)
    return [] if weights is None else [Source(url=weights.url)]


def measured_spec(full_name: str, name: str, options: dict[str, str], digest: str) -> BackboneSpec:
    """Make the spec of torchvision's model `name`, with the transforms of its weights."""
    weights = weights_of(name)
    if weights is None:
        raise BackboneUnavailableError(f"torchvision has no model {name}")
    transforms = weights.transforms()
    crop, resize = transforms.crop_size[0], transforms.resize_size[0]
    height, width = size_option(options, (crop, crop))
    spec = BackboneSpec(
        name=full_name,
        dim=0,
        input_size=height,
        input_width=None if width == height else width,
        crop_pct=crop / resize,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        digest=digest,
        exact=False,
    )
    return replace(spec, dim=feature_count(architecture(name, options), spec))


def resize(module: "torch.nn.Module", options: dict[str, str]) -> None:
    """Raise BackboneUnavailableError if a transformer gets another input size than its own."""
    own = getattr(module, "image_size", None)
    if "size" in options and own is not None and size_option(options, (own, own)) != (own, own):
        raise BackboneUnavailableError(f"this model of torchvision takes {own} pixels only")


def architecture(
    name: str, options: dict[str, str], *, weights: Path | None = None
) -> "torch.nn.Module":
    """Build torchvision's model in eval mode, without its last layer of a thousand outputs."""
    import torch
    import torchvision

    model = name.partition(".")[0]
    # Initialising these two takes a minute.
    slow = {"init_weights": False} if model in {"googlenet", "inception_v3"} else {}
    module: torch.nn.Module = torchvision.models.get_model(model, weights=None, **slow)
    if weights is not None:
        state = {_DENSENET.sub(r"\1\2", key): v for key, v in read_state_dict(weights).items()}
        module.load_state_dict(state)
        if hasattr(module, "transform_input"):
            # Set with pretrained weights alone: they were trained on other means.
            setattr(module, "transform_input", True)  # noqa: B010
    last = [
        path
        for path, layer in module.named_modules()
        if CLASSES in (getattr(layer, "out_features", 0), getattr(layer, "out_channels", 0))
        and not path.startswith(("aux", "AuxLogits"))
    ][-1]
    module.set_submodule(last, torch.nn.Identity())
    resize(module, options)
    return module.eval()
