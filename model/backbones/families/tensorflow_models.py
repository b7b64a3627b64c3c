"""TensorFlow SavedModels as feature extractors, by their signature `serving_default`.

`tensorflow:/path/folder`. On a CPU OpenVINO reads the folder; TensorFlow is needed where it
can't, and on a GPU. Images are RGB in [0, 1] unless the input is uint8, or `?range=` is given (see
RANGES). Of several outputs a vector is taken, unless `?output=NAME` names another.
"""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.backbones.inspection import Inspection, digest_of, inspect_spec
from model.backbones.normalisation import RANGES, normalisation_option
from model.backbones.options import size_option, split_options
from model.backbones.registry import FAMILIES, BackboneSpec, BackboneUnavailableError, Family

if TYPE_CHECKING:
    import torch

OPTIONS = ("size", "range", "output")
EXTRA = "pip install 'label-studio-apprentice[tensorflow]'"
DEFAULT_SIZE = 224  # pixels, of a model that takes any

_FEATURES = re.compile("feature|embedding|pool", re.IGNORECASE)


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a SavedModel; None is a dynamic dimension."""

    input_name: str
    input_shape: tuple[int | None, ...]  # [N, H, W, C]
    bytes: bool  # the input is uint8
    outputs: dict[str, tuple[int | None, ...]]


@FAMILIES.register("tensorflow")
class SavedModel(Family):
    """The family `tensorflow`."""

    pattern = "tensorflow:FOLDER"
    help = "a TensorFlow SavedModel, for what OpenVINO can't read by itself"

    def missing(self) -> str | None:
        return None if find_spec("tensorflow") else EXTRA

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        _folder(model)
        return inspect_spec("tensorflow", model, folder)

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        return _as_module(model)

    def graph(self, model: str) -> Any:
        return _openvino_graph(model, _folder(model))

    def inspect(self, model: str) -> Inspection | None:
        path = _folder(model)
        _, options = split_options(model, OPTIONS)
        signature = _signature(path)
        shape = signature.input_shape
        if len(shape) != 4 or shape[3] not in {3, None}:
            raise BackboneUnavailableError(f"{path} doesn't read RGB images but {shape}")
        height, width = size_option(options, (shape[1] or DEFAULT_SIZE, shape[2] or DEFAULT_SIZE))
        output = chosen_output(signature.outputs, options.get("output"))
        normalisation = normalisation_option(
            options, RANGES["0..255" if signature.bytes else "0..1"]
        )
        if normalisation.bgr:
            raise BackboneUnavailableError("range=caffe isn't there for tensorflow:")
        files = tuple(sorted(file for file in path.rglob("*") if file.is_file()))
        dim = signature.outputs[output][-1]
        if dim is None:
            raise BackboneUnavailableError(f"{path} doesn't say how long its {output} is")
        spec = BackboneSpec(
            name=f"tensorflow:{model}",
            dim=dim,
            input_size=height,
            input_width=None if width == height else width,
            crop_pct=1.0,
            crop_mode="squash",  # as Keras and TensorFlow's tutorials resize
            mean=normalisation.mean,
            std=normalisation.std,
            interpolation="bilinear",
            digest=digest_of(files),
            exact=False,
            trainable=False,
        )
        return Inspection(spec, files)


def chosen_output(outputs: dict[str, tuple[int | None, ...]], requested: str | None) -> str:
    """Choose the output [N, D] or [N, H, W, D]. Raises BackboneUnavailableError."""
    if requested is not None:
        if requested in outputs:
            return requested
        raise BackboneUnavailableError(f"no output is called {requested!r}: {', '.join(outputs)}")
    for rank in (2, 4):
        fitting = [name for name, shape in outputs.items() if len(shape) == rank]
        named = [name for name in fitting if _FEATURES.search(name)]
        if fitting:
            return (named or sorted(fitting))[0]
    raise BackboneUnavailableError(f"no output is a vector or a map of features: {outputs}")


def _folder(model: str) -> Path:
    name, _ = split_options(model, OPTIONS)
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise BackboneUnavailableError(
            f"tensorflow:{model}: write the whole path, such as tensorflow:{path.absolute()}"
        )
    if not (path / "saved_model.pb").is_file():
        raise BackboneUnavailableError(f"{path} is no SavedModel: no saved_model.pb is in it")
    return path


def _signature(path: Path) -> Signature:
    """Read the signature by OpenVINO; where that fails, by TensorFlow."""
    from model.backbones.openvino_import import import_openvino

    openvino = import_openvino()
    try:
        graph = openvino.convert_model(path)
    except Exception as error:  # whatever its converter makes of a graph
        try:
            return _tensorflow_signature(path)
        except BackboneUnavailableError as missing:
            first = str(error).strip().splitlines()[0]
            raise BackboneUnavailableError(
                f"OpenVINO can't read {path} ({first}), and {missing}"
            ) from error

    def shape(node: Any) -> tuple[int | None, ...]:
        return tuple(None if n.is_dynamic else n.get_length() for n in node.partial_shape)

    if len(graph.inputs) != 1:
        raise BackboneUnavailableError(f"{path} has {len(graph.inputs)} inputs, not one of images")
    return Signature(
        input_name=graph.input().any_name,
        input_shape=shape(graph.input()),
        bytes=graph.input().element_type == openvino.Type.u8,
        outputs={node.any_name: shape(node) for node in graph.outputs},
    )


def _tensorflow_signature(path: Path) -> Signature:
    function = _serving(path)
    tensors = function.structured_input_signature[1]
    if len(tensors) != 1:
        raise BackboneUnavailableError(f"{path} has {len(tensors)} inputs, not one of images")
    (name, tensor), *_ = tensors.items()
    return Signature(
        input_name=name,
        input_shape=tuple(tensor.shape),
        bytes=tensor.dtype.name == "uint8",
        outputs={key: tuple(value.shape) for key, value in function.structured_outputs.items()},
    )


def _serving(path: Path) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow
    except ImportError as exc:
        raise BackboneUnavailableError(f"TensorFlow isn't installed: {EXTRA}") from exc
    loaded = tensorflow.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        raise BackboneUnavailableError(f"{path} has no signature serving_default")
    function = loaded.signatures["serving_default"]
    # Else it is garbage-collected, and its variables with it.
    function.keeps_alive = loaded
    return function


def _openvino_graph(model: str, path: Path) -> Any:
    """Read the folder as OpenVINO's model: images [N, H, W, 3] to features [N, D]."""
    from model.backbones.openvino_import import import_openvino

    openvino = import_openvino()
    from openvino import opset13 as opset

    _, options = split_options(model, OPTIONS)
    graph = openvino.convert_model(path)
    shape = graph.input().partial_shape
    default = [DEFAULT_SIZE if n.is_dynamic else n.get_length() for n in list(shape)[1:3]]
    height, width = size_option(options, (default[0], default[1]))
    graph.reshape([-1, height, width, 3])
    ranks: dict[str, tuple[int | None, ...]] = {
        node.any_name: (None,) * len(node.partial_shape) for node in graph.outputs
    }
    features = graph.output(chosen_output(ranks, options.get("output"))).get_node().input_value(0)
    if len(features.partial_shape) == 4:
        features = opset.reduce_mean(features, opset.constant([1, 2]), keep_dims=False).output(0)
    return openvino.Model([opset.result(features)], graph.get_parameters(), "features")


def _as_module(model: str) -> "torch.nn.Module":
    import torch

    path = _folder(model)
    _, options = split_options(model, OPTIONS)
    function = _serving(path)
    import tensorflow

    (name, tensor), *_ = function.structured_input_signature[1].items()
    outputs = {key: tuple(value.shape) for key, value in function.structured_outputs.items()}
    output = chosen_output(outputs, options.get("output"))

    class Features(torch.nn.Module):
        """Images [N, 3, H, W] as PyTorch has them, to features [N, D]; computed by TensorFlow."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = images.float().permute(0, 2, 3, 1).cpu().numpy()
            given = tensorflow.cast(tensorflow.constant(pixels), tensor.dtype)
            features = torch.from_numpy(function(**{name: given})[output].numpy()).float()
            return features if features.ndim == 2 else features.mean((1, 2))

    return Features().eval()
