"""Writes a version's model, labels, preprocessing and `infer.py` into a folder."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from model.backbones import BackboneSpec
from model.exporting.graph import ExportedControl, ExportedModel, ExportError
from model.heads.linear import LinearHead
from model.targets.schema import schema_json

if TYPE_CHECKING:
    import torch

FORMATS = ("onnx", "torchscript", "safetensors")


def export(
    backbone: "torch.nn.Module",
    spec: BackboneSpec,
    controls: Sequence[ExportedControl],
    folder: Path,
    *,
    fmt: str,
    about: dict[str, Any],
) -> None:
    """Write a version into an empty folder, in one of FORMATS.

    Args:
        backbone: in eval mode, normalised images [N, 3, H, W] to features [N, D].
        spec: of the backbone; only square centre crops can be exported.
        controls: at least one.
        folder: empty.
        fmt: one of FORMATS.
        about: plain JSON that is written beside the labels.

    Raises:
        ExportError: it can't be exported in this format.
    """
    if not controls:
        raise ExportError("this version has learned nothing that could be exported")
    if spec.crop_mode != "center" or spec.input_width is not None:
        raise ExportError(
            f"{spec.name} prepares images in a way that infer.py can't: "
            "only square crops from the middle can be exported"
        )
    module = ExportedModel(backbone, spec, controls).eval()
    preprocessing: dict[str, Any] = {
        "backbone": asdict(spec),
        "pixels": {
            "size": spec.input_size,
            "share": spec.crop_pct,
            "kind": int(Image.Resampling[spec.interpolation.upper()]),
        },
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own deprecations
        if fmt == "onnx":
            _onnx(module, spec, folder / "model.onnx")
        elif fmt == "torchscript":
            _torchscript(module, spec, folder / "model.pt")
        else:
            preprocessing["architecture"] = _safetensors(module, folder / "model.safetensors")
    labels = about | {"controls": [_control_facts(control) for control in controls]}
    _write(folder / "labels.json", labels)
    _write(folder / "preprocessing.json", preprocessing)
    script = files("model.exporting.scripts").joinpath(f"{fmt}.py")
    (folder / "infer.py").write_text(script.read_text())


def _control_facts(control: ExportedControl) -> dict[str, Any]:
    learned = control.learned
    head = learned.head
    assert isinstance(head, LinearHead), "the exported module took it"
    return (
        {
            "name": control.name,
            "classes": control.classes,
            "target": schema_json(control.target),
            "head": head.kind,
            "power": head.power,
            "activation": control.output.activation,
            "above": [list(pair) for pair in control.output.above],
        }
        | learned.settings()
        | {"temperature": learned.temperature}
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _example(spec: BackboneSpec) -> "torch.Tensor":
    import torch

    return torch.zeros(2, spec.input_size, spec.input_size, 3, dtype=torch.uint8)


def _onnx(module: ExportedModel, spec: BackboneSpec, path: Path) -> None:
    import torch

    try:
        program = torch.onnx.export(
            module,
            (_example(spec),),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=[f"output{index}" for index in range(len(module.heads))],
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=4096)}},
        )
    except ImportError as error:
        raise ExportError(
            f"{error}; ONNX needs more packages: pip install 'label-studio-apprentice[export]'"
        ) from error
    assert program is not None, "only an export to a file gives no program"
    program.save(path)


def _torchscript(module: ExportedModel, spec: BackboneSpec, path: Path) -> None:
    import torch

    with torch.no_grad():
        traced = torch.jit.trace(module, _example(spec))  # type: ignore[no-untyped-call]
        traced.save(str(path))


def _safetensors(module: ExportedModel, path: Path) -> dict[str, Any]:
    """Write all weights; return the arguments of timm.create_model for the backbone."""
    from safetensors.torch import save_file

    save_file({name: t.contiguous().clone() for name, t in module.state_dict().items()}, path)
    return _architecture(module.backbone)


def _architecture(backbone: "torch.nn.Module") -> dict[str, Any]:
    import timm

    config = getattr(backbone, "pretrained_cfg", None) or {}
    name = config.get("architecture")
    if not isinstance(name, str):
        raise ExportError(
            "only timm's architectures can be built again from safetensors: "
            "choose --format onnx or torchscript"
        )
    size = getattr(getattr(backbone, "patch_embed", None), "img_size", None)
    options: dict[str, Any] = {"num_classes": 0} | ({"img_size": list(size)} if size else {})
    try:
        timm.create_model(name, pretrained=False, **options).load_state_dict(backbone.state_dict())
    except RuntimeError as error:
        raise ExportError(
            f"timm's {name} doesn't take these weights: choose --format onnx or torchscript"
        ) from error
    return {"model_name": name} | options
