"""The interface of embedders, and opening the fastest one for this machine."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from PIL import Image

from model.arrays import Float16s
from model.backbones import BackboneSpec, get_backbone
from model.embedding.devices import available_cpus, resolve_device, resolve_precision

log = logging.getLogger(__name__)


class Embedder(Protocol):
    """A backbone on a runtime. `prepare` and `embed` may be called from several threads."""

    key: str  # of the embedding space: `BackboneSpec.space`
    dim: int  # length of one embedding
    batch_size: int  # images for which `embed` is fastest

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        """Resize and crop an RGB image of any size to the pixels [H, W, 3] that `embed` takes."""
        ...

    def embed(self, batch: Sequence[NDArray[Any]]) -> Float16s:
        """Return the embeddings [N, D] of N prepared images, in their order."""
        ...

    def close(self) -> None:
        """Free the memory of inference."""
        ...


def open_embedder(
    backbone: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    cache_dir: Path,
    threads: int | None = None,
    compiled: bool = False,
) -> Embedder:
    """Open a backbone on the fastest runtime of this machine.

    Open it in the process that uses it: neither OpenVINO nor CUDA survives a fork.

    Args:
        backbone: "FAMILY:MODEL".
        device: auto, cpu or cuda.
        precision: auto, float32 or bfloat16.
        cache_dir: the folder of exported and fine-tuned backbones.
        threads: of the CPU inference; by default all CPUs of this process.
        compiled: compile the network by torch.compile; it takes a minute, for bulk work.

    Raises:
        UnknownBackboneError, BackboneUnavailableError: as `get_backbone`.
        UnavailableError: this machine lacks the device or the precision.
        ValueError: no such device or precision.
    """
    spec = get_backbone(backbone, cache_dir)
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    threads = threads or available_cpus()
    if device == "cpu":
        embedder = _open_openvino(spec, precision, cache_dir, threads)
        if embedder is not None:
            return embedder
    from model.embedding.torch_runtime import TorchEmbedder

    return TorchEmbedder(
        spec,
        device=device,
        precision=precision,
        threads=threads,
        compiled=compiled,
        folder=cache_dir,
    )


def _open_openvino(
    spec: BackboneSpec, precision: str, cache_dir: Path, threads: int
) -> Embedder | None:
    from model.embedding import openvino_export
    from model.embedding.openvino_runtime import OpenVINOEmbedder

    try:
        model = openvino_export.exported_model(spec, cache_dir)
        try:
            return OpenVINOEmbedder(spec, model, precision=precision, threads=threads)
        except RuntimeError:
            log.warning("%s can't be read; exporting it again.", model)
            openvino_export.discard_export(spec, cache_dir)
            model = openvino_export.exported_model(spec, cache_dir)
            return OpenVINOEmbedder(spec, model, precision=precision, threads=threads)
    except (ImportError, openvino_export.ExportError) as error:
        log.warning("OpenVINO can't run %s, PyTorch does, more slowly: %s", spec.name, error)
        return None
