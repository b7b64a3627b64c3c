"""Keras models from `.keras` or `.h5` files, run by Keras 3 on its PyTorch backend.

`keras:/path/model.keras`. Features are the input of the last dense layer; a model without one gives
its average-pooled feature map. `?layer=NAME` takes that layer's output instead. Where the first
layers don't normalise the images, `?range=` states their range, see RANGES.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.backbones.inspection import Inspection, digest_of, inspect_spec
from model.backbones.normalisation import RANGES, Normalisation, normalisation_option
from model.backbones.options import size_option, split_options
from model.backbones.registry import FAMILIES, BackboneSpec, BackboneUnavailableError, Family
from model.backbones.weights import existing_file, feature_count

if TYPE_CHECKING:
    import torch

OPTIONS = ("size", "range", "layer")
SUFFIXES = (".keras", ".h5", ".hdf5")
EXTRA = "pip install 'label-studio-apprentice[keras]'"

DEFAULT_SIZE = 224  # pixels, of a model that takes any

# Layers that normalise: their input is 0 to 255.
NORMALISING = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add"}
NEUTRAL = {"InputLayer", "Resizing", "CenterCrop", "GetItem", "Stack", "Cast", "Identity"}

# The range of keras.applications' `preprocess_input`, by the prefix of the model's name.
APPLICATIONS = {
    "resnet50v2": "-1..1",
    "resnet101v2": "-1..1",
    "resnet152v2": "-1..1",
    "resnet": "caffe",
    "vgg": "caffe",
    "xception": "-1..1",
    "inception": "-1..1",
    "mobilenetv3": "0..255",  # normalises by itself
    "mobilenet": "-1..1",
    "nasnet": "-1..1",
    "densenet": "imagenet",
    "efficientnet": "0..255",
    "convnext": "0..255",
}


@FAMILIES.register("keras")
class KerasFile(Family):
    """The family `keras`."""

    pattern = "keras:PATH"
    help = "a Keras model from a .keras or .h5 file"

    def missing(self) -> str | None:
        return None if find_spec("keras") and find_spec("torch") else EXTRA

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        name, _ = split_options(model, OPTIONS)
        existing_file(f"keras:{model}", name, SUFFIXES)
        if (command := self.missing()) is not None:
            raise BackboneUnavailableError(f"keras:{model} needs Keras and PyTorch: {command}")
        return inspect_spec("keras", model, folder)

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        return _features(model)[0]

    def inspect(self, model: str) -> Inspection | None:
        name, options = split_options(model, OPTIONS)
        path = existing_file(f"keras:{model}", name, SUFFIXES)
        module, network = _features(model)
        normalisation = normalisation_option(options, _own_range(network))
        height, width = _input_size(network, options)
        spec = BackboneSpec(
            name=f"keras:{model}",
            dim=0,
            input_size=height,
            input_width=None if width == height else width,
            crop_pct=1.0,
            crop_mode="squash",  # as Keras loads images by default
            mean=normalisation.mean,
            std=normalisation.std,
            interpolation="bilinear",
            digest=digest_of([path]),
            exact=False,
        )
        return Inspection(replace(spec, dim=feature_count(module, spec)), (path,))


def load_keras() -> Any:
    """Import Keras on its PyTorch backend. Raises BackboneUnavailableError."""
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except ImportError as exc:
        raise BackboneUnavailableError(f"Keras isn't installed: {EXTRA}") from exc
    if keras.backend.backend() != "torch":
        raise BackboneUnavailableError("Keras runs on another backend in this process already")
    return keras


def _features(model: str) -> tuple["torch.nn.Module", Any]:
    """Return the feature extractor as a PyTorch module, and the whole Keras model."""
    name, options = split_options(model, OPTIONS)
    path = existing_file(f"keras:{model}", name, SUFFIXES)
    keras = load_keras()
    with keras.device("cpu"):
        try:
            # Code in the file (Lambda layers) is refused.
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises all kinds for files that it can't read
            first = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise BackboneUnavailableError(f"Keras can't read {path}: {first}") from error
        output = _feature_tensor(network, options.get("layer"))
        if len(output.shape) == 4:
            output = keras.ops.mean(output, axis=(1, 2))
        extractor = keras.Model(network.inputs, output)
    channels = int(network.input_shape[-1])
    if channels not in {1, 3}:
        raise BackboneUnavailableError(f"{path} reads images of {channels} channels, not 1 or 3")
    bgr = normalisation_option(options, _own_range(network)).bgr
    return _as_module(keras, extractor, gray=channels == 1, bgr=bgr), network


def _feature_tensor(network: Any, layer: str | None) -> Any:
    inputs = getattr(network, "inputs", None)
    if not inputs or len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise BackboneUnavailableError("the Keras model doesn't take one batch of images")
    names = [each.name for each in network.layers]
    if layer is not None:
        if layer not in names:
            raise BackboneUnavailableError(f"no layer is called {layer!r}: {', '.join(names)}")
        return network.get_layer(layer).output
    for last in reversed(network.layers):
        if type(last).__name__ == "Dense":
            return last.input
        if type(last).__name__ not in {"Activation", "Softmax", "Dropout", "Identity"}:
            break
    return network.outputs[0]


def _own_range(network: Any) -> Normalisation:
    """Guess the input normalisation from the first layers, or from the model's name."""
    for operation in _operations(network):
        kind = type(operation).__name__
        if kind in NORMALISING:
            return RANGES["0..255"]
        if kind not in NEUTRAL and not kind.startswith("Random"):
            break
    for part in [network, *network.layers]:
        for prefix, name in APPLICATIONS.items():
            if part.name.lower().replace("_", "").startswith(prefix):
                return RANGES[name]
    return RANGES["0..1"]


def _operations(network: Any) -> Iterator[Any]:
    """Iterate over layers and operations in order, also those of nested models."""
    for operation in getattr(network, "operations", network.layers):
        if hasattr(operation, "layers"):
            yield from _operations(operation)
        else:
            yield operation


def _input_size(network: Any, options: dict[str, str]) -> tuple[int, int]:
    height, width = (side or DEFAULT_SIZE for side in network.input_shape[1:3])
    return size_option(options, (height, width))


def _as_module(keras: Any, extractor: Any, *, gray: bool, bgr: bool) -> "torch.nn.Module":
    import torch

    class Features(torch.nn.Module):
        """Images [N, 3, H, W] as PyTorch has them, to features [N, D]."""

        def __init__(self) -> None:
            super().__init__()
            self.extractor = extractor

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if gray:  # ITU-R BT.601, as Pillow converts
                red, green, blue = images.unbind(1)
                images = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)
            elif bgr:
                images = images.flip(1)
            with keras.device(images.device.type):
                features = self.extractor(images.permute(0, 2, 3, 1), training=self.training)
            return features.float()  # type: ignore[no-any-return]

    return Features().eval()
