"""Pretrained models of timm, with the preprocessing of their configuration.

`timm:resnet18`, `timm:vit_base_patch16_224.augreg_in21k`; `?size=224` changes the input's size:
`timm:vit_small_patch14_dinov2?size=224` takes an eighth of the time of its own 518 pixels.
"""

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
from model.backbones.weights import Source, feature_count, find_weights, local_weights

if TYPE_CHECKING:
    import torch

OPTIONS = ("size",)


@FAMILIES.register("timm")
class Timm(Family):
    """The family `timm`."""

    pattern = "timm:MODEL"
    help = "any pretrained model of timm"

    def models(self) -> tuple[str, ...]:
        return inspect_names("timm")

    def local(self, folder: Path | None) -> tuple[str, ...]:
        return inspect_names("timm", local=True)

    def missing(self) -> str | None:
        return None if find_spec("timm") else WORKER_EXTRA

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        if (command := self.missing()) is not None:
            raise BackboneUnavailableError(f"timm:{model} needs timm: {command}")
        return inspect_spec("timm", model, folder)

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        name, options = split_options(model, OPTIONS)
        path = find_weights(f"timm:{model}", sources(name))
        return architecture(name, options, weights=path)

    def inspect(self, model: str) -> Inspection | None:
        name, options = split_options(model, OPTIONS)
        if configuration(name) is None:
            return None
        path = find_weights(f"timm:{model}", sources(name))
        return Inspection(
            measured_spec(f"timm:{model}", name, options, digest_of([path])), (path.resolve(),)
        )

    def list_names(self) -> tuple[str, ...]:
        import timm

        tagged = timm.list_models(pretrained=True)
        return tuple(sorted({*tagged, *(name.partition(".")[0] for name in tagged)}))

    def list_local(self) -> tuple[str, ...]:
        import timm

        return tuple(
            name for name in timm.list_models(pretrained=True) if local_weights(sources(name))
        )


def configuration(name: str) -> Any | None:
    """Return timm's configuration of "MODEL" or "MODEL.TAG"; None when there is no such model."""
    from timm.models import get_pretrained_cfg, is_model

    architecture_name, _, tag = name.partition(".")
    if not is_model(architecture_name):
        return None
    try:
        return get_pretrained_cfg(name) if tag else get_pretrained_cfg(architecture_name)
    except RuntimeError:  # the model is there, the tag is not
        return None


def sources(name: str) -> list[Source]:
    """List the sources of the weights of timm's model."""
    config = configuration(name)
    if config is None:
        return []
    hub = [Source(hub_id=config.hf_hub_id)] if config.hf_hub_id else []
    if config.hf_hub_id and config.hf_hub_filename:
        hub = [Source(hub_id=config.hf_hub_id, hub_files=(config.hf_hub_filename,))]
    return hub + ([Source(url=config.url)] if isinstance(config.url, str) and config.url else [])


def measured_spec(full_name: str, name: str, options: dict[str, str], digest: str) -> BackboneSpec:
    """Make the spec of timm's model `name`; the features are counted with random weights."""
    config = configuration(name)
    if config is None:
        raise BackboneUnavailableError(f"timm has no model {name}")
    height, width = size_option(options, tuple(config.input_size[1:]))
    spec = BackboneSpec(
        name=full_name,
        dim=0,
        input_size=height,
        input_width=None if width == height else width,
        crop_pct=config.crop_pct,
        crop_mode=config.crop_mode,
        mean=tuple(config.mean),
        std=tuple(config.std),
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        digest=digest,
        exact=False,
    )
    return replace(spec, dim=feature_count(architecture(name, options), spec))


def resize(module: "torch.nn.Module", options: dict[str, str]) -> None:
    """Set a loaded module's input size; its position embeddings are interpolated."""
    if "size" in options and hasattr(module, "set_input_size"):
        module.set_input_size(img_size=size_option(options, (224, 224)))  # type: ignore[operator]


def architecture(
    name: str, options: dict[str, str], *, weights: Path | None = None
) -> "torch.nn.Module":
    """Build timm's model as a feature extractor in eval mode; without `weights`, random ones."""
    import timm

    config = configuration(name)
    arguments: dict[str, Any] = {}
    if config is not None and config.fixed_input_size and "size" in options:
        arguments["img_size"] = size_option(options, (224, 224))
    if weights is not None:
        arguments["pretrained_cfg_overlay"] = {"file": str(weights)}
    module: torch.nn.Module = timm.create_model(
        name,
        pretrained=weights is not None,
        num_classes=0,
        **arguments,
    )
    return module.eval()
