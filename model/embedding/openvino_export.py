"""Exports backbones to OpenVINO's intermediate representation, cached on disk.

The export imports torch, and so runs in a subprocess:
`python -m model.embedding.openvino_export BACKBONE FOLDER CACHE`.
"""

import hashlib
import importlib.metadata
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from model.backbones import (
    BackboneSpec,
    BackboneUnavailableError,
    build_module,
    get_backbone,
    read_graph,
)
from model.backbones.openvino_import import import_openvino
from model.processes import exit_with_parent, run_module

log = logging.getLogger(__name__)

EXPORT_VERSION = 1  # to be raised when the exported graph changes for equal weights

EXPORT_TIMEOUT = 600  # seconds; a small backbone takes about ten

MAX_ERROR = 0.01  # relative to the largest feature, in float32

# Exit codes of the subprocess: the export failed for good; weights are missing.
REFUSED, UNAVAILABLE = 3, 4

# The error message of a failed export, in place of the graph.
REASON = "refused.txt"


class ExportError(RuntimeError):
    """OpenVINO can't convert this backbone. The message ends with the converter's error."""


def exported_model(spec: BackboneSpec, cache_dir: Path) -> Path:
    """Return the file `model.xml` of a backbone, exported into `cache_dir` if it isn't there yet.

    Input: uint8 [N, H, W, 3]; output: float32 [N, D]; normalisation is part of the graph. Several
    processes may call it at once: one exports, the others wait. A failed export isn't tried again.

    Raises:
        ExportError: OpenVINO can't convert it.
        BackboneUnavailableError: its weights are missing.
    """
    folder = cache_dir / _folder_name(spec)
    if not folder.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                _export_in_subprocess(spec, folder)
    if (folder / REASON).exists():
        raise ExportError((folder / REASON).read_text())
    return folder / "model.xml"


def discard_export(spec: BackboneSpec, cache_dir: Path) -> None:
    """Delete the cached export of a backbone, so that it is exported again."""
    folder = cache_dir / _folder_name(spec)
    with FileLock(f"{folder}.lock"):
        shutil.rmtree(folder, ignore_errors=True)


def discard_exports(name: str, digest: str, cache_dir: Path) -> None:
    """Delete all exports of a backbone with an `exact` name, for all versions of OpenVINO."""
    for path in cache_dir.glob(f"{_file_name(name)}-{digest[:16]}-openvino-*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name)[-60:]


def _folder_name(spec: BackboneSpec) -> str:
    version = importlib.metadata.version("openvino")
    name = _file_name(spec.name)
    if not spec.exact:  # options, a path, or how the images are prepared may differ
        name += f"-{hashlib.sha256(repr(spec).encode()).hexdigest()[:8]}"
    return f"{name}-{spec.digest[:16]}-openvino-{version}-r{EXPORT_VERSION}"


def _export_in_subprocess(spec: BackboneSpec, folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
    try:
        done = run_module(
            "model.embedding.openvino_export",
            spec.name,
            str(scratch),
            str(folder.parent),
            seconds=EXPORT_TIMEOUT,
        )
        output = done.stderr.strip()[-2000:]
        if done.returncode == UNAVAILABLE:
            raise BackboneUnavailableError(output)
        if done.returncode not in {0, REFUSED}:
            raise ExportError(f"{spec.name} couldn't be exported: {output}")
        if done.returncode == REFUSED:
            (scratch / REASON).write_text(f"{spec.name} couldn't be exported: {output}")
        scratch.replace(folder)
    except subprocess.TimeoutExpired as exc:
        raise ExportError(f"{spec.name} wasn't exported within {EXPORT_TIMEOUT} s.") from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _export(spec: BackboneSpec, folder: Path, cache_dir: Path) -> None:
    openvino = import_openvino()
    height, width = spec.shape
    graph, layout, module = _graph(openvino, spec, cache_dir)
    steps = openvino.preprocess.PrePostProcessor(graph)
    tensor = steps.input().tensor()
    tensor.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    tensor.set_shape([-1, height, width, 3])
    steps.input().model().set_layout(openvino.Layout(layout))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(
        [255 * value for value in spec.mean]
    ).scale([255 * value for value in spec.std])
    openvino.save_model(steps.build(), folder / "model.xml", compress_to_fp16=False)
    if module is not None:
        _compare(folder / "model.xml", spec, module)
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _graph(openvino: Any, spec: BackboneSpec, cache_dir: Path) -> tuple[Any, str, Any]:
    """Return OpenVINO's graph, its input layout, and the PyTorch module if it was traced."""
    height, width = spec.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's tracing is deprecated in torch
        if (graph := read_graph(spec)) is not None:
            return graph, "NHWC", None
        import torch

        module = build_module(spec, cache_dir)
        graph = openvino.convert_model(
            module,
            example_input=torch.zeros(2, 3, height, width),
            input=[-1, 3, height, width],
            extension=_synonyms(),
        )
    return graph, "NCHW", module


def _synonyms() -> list[Any]:
    """Conversion rules for PyTorch's aliases of arithmetic operations, which Keras uses."""
    from openvino import opset13 as opset
    from openvino.frontend.pytorch import ConversionExtension

    def rule(operation: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        def convert(context: Any) -> Any:
            first = context.get_input(0)
            second = opset.convert_like(context.get_input(1), first)
            return operation(first, second).outputs()

        return convert

    rules = {"divide": opset.divide, "subtract": opset.subtract, "multiply": opset.multiply}
    return [
        ConversionExtension(f"aten::{name}", rule(function)) for name, function in rules.items()
    ]


def _compare(model: Path, spec: BackboneSpec, module: Any) -> None:
    """Raise ValueError if the graph's features of random images differ from the module's.

    Tracing records one run: a branch that depends on the input is lost without an error.
    """
    import torch

    from model.embedding.openvino_runtime import compile_model

    pixels = np.random.default_rng(0).integers(0, 256, (3, *spec.shape, 3), np.uint8)
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    normalised = (pixels / np.float32(255) - mean) / std
    with torch.inference_mode():
        images = torch.from_numpy(normalised.transpose(0, 3, 1, 2).copy())
        expected = module(images).numpy()
    compiled = compile_model(model, precision="float32", threads=1)
    features = next(iter(compiled(pixels).values()))
    error = np.abs(features - expected).max() / max(np.abs(expected).max(), 1e-6)
    if not error <= MAX_ERROR:
        raise ValueError(f"the converted network gives other features, by {error:.1%}")


def main() -> int:
    """Export in this process; return the exit code, REFUSED if trying again can't help."""
    exit_with_parent()
    name, folder, cache_dir = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    try:
        _export(get_backbone(name, cache_dir), folder, cache_dir)
    except BackboneUnavailableError as error:
        sys.stderr.write(f"\n{error}\n")
        return UNAVAILABLE
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever the converter makes of other people's networks
        log.exception("%s can't be converted", name)
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
