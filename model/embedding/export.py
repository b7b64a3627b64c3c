"""A backbone as OpenVINO's intermediate representation in the cache: exported once, then only read.

The export needs torch and so runs in a process of its own: whoever asks stays free of it.
Run as `python -m model.embedding.export BACKBONE FOLDER`.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

from filelock import FileLock

from model.backbones import BackboneSpec, build_module, get_backbone
from model.embedding.openvino_import import import_openvino

RECIPE = 1  # raise it when the exported graph changes for equal weights

EXPORT_TIMEOUT = 600  # seconds; a small backbone takes about ten


class ExportError(RuntimeError):
    """OpenVINO can't take this backbone. The message ends with what its converter said."""


def exported_model(spec: BackboneSpec, cache_dir: Path) -> Path:
    """The file `model.xml` of the backbone, exported into `cache_dir` if it isn't there yet.

    Input: uint8 [N, H, W, 3]; output: float32 [N, D]; normalisation is part of the graph. Several
    processes may ask at once: one exports and the others wait. Raises ExportError.
    """
    folder = cache_dir / _folder_name(spec)
    if not folder.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                _export_in_a_process(spec, folder)
    return folder / "model.xml"


def discard_export(spec: BackboneSpec, cache_dir: Path) -> None:
    """Remove what is cached of the backbone, so that it is exported again."""
    folder = cache_dir / _folder_name(spec)
    with FileLock(f"{folder}.lock"):
        shutil.rmtree(folder, ignore_errors=True)


def _folder_name(spec: BackboneSpec) -> str:
    version = importlib.metadata.version("openvino")
    name = spec.name.replace(":", "-").replace("/", "-")
    return f"{name}-{spec.digest[:16]}-openvino-{version}-r{RECIPE}"


def _export_in_a_process(spec: BackboneSpec, folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
    # Only this process holds the writing end: the child sees the end of file when it is gone.
    watched, held = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "model.embedding.export", spec.name, str(scratch)],
            stdin=watched,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=EXPORT_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise ExportError(f"{spec.name} couldn't be exported: {done.stderr.strip()[-2000:]}")
        scratch.replace(folder)
    except subprocess.TimeoutExpired as exc:
        raise ExportError(f"{spec.name} wasn't exported within {EXPORT_TIMEOUT} s.") from exc
    finally:
        os.close(watched)
        os.close(held)
        shutil.rmtree(scratch, ignore_errors=True)


def _export(spec: BackboneSpec, folder: Path) -> None:
    openvino = import_openvino()
    import torch

    size = spec.input_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's tracing is deprecated in torch
        graph = openvino.convert_model(
            build_module(spec),
            example_input=torch.zeros(2, 3, size, size),
            input=[-1, 3, size, size],
        )
    steps = openvino.preprocess.PrePostProcessor(graph)
    tensor = steps.input().tensor()
    tensor.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    tensor.set_shape([-1, size, size, 3])
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(
        [255 * value for value in spec.mean]
    ).scale([255 * value for value in spec.std])
    openvino.save_model(steps.build(), folder / "model.xml", compress_to_fp16=False)
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _exit_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_exit_with_the_parent, daemon=True).start()
    _export(get_backbone(sys.argv[1]), Path(sys.argv[2]))
