"""One interface to every runtime, and the choice of one for this machine."""

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
    """A backbone, ready to embed. `prepare` and `embed` may be called from several threads."""

    key: str  # under which embeddings are kept: `BackboneSpec.space`
    dim: int  # length of one embedding
    batch_size: int  # images that `embed` is best given at once

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        """What `embed` takes of one RGB image of any size."""
        ...

    def embed(self, batch: Sequence[NDArray[Any]]) -> Float16s:
        """Features [N, D] of N prepared images, in their order."""
        ...

    def close(self) -> None:
        """Free what inference holds."""
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
    """The backbone, ready on the best runtime that this machine has.

    `device` is auto, cpu or cuda; `precision` is auto, float32 or bfloat16; exported backbones are
    kept in `cache_dir`; `threads` limits the CPU inference (all CPUs of this process by default);
    `compiled` lets PyTorch compile the network, which takes a minute and pays for bulk work.
    Open it in the process that uses it: neither OpenVINO nor CUDA survives a fork.
    Raises UnknownBackboneError, BackboneUnavailableError, UnavailableError, ValueError.
    """
    spec = get_backbone(backbone, cache_dir)
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    threads = threads or available_cpus()
    if device == "cpu":
        embedder = _on_openvino(spec, precision, cache_dir, threads)
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


def _on_openvino(
    spec: BackboneSpec, precision: str, cache_dir: Path, threads: int
) -> Embedder | None:
    from model.embedding import export
    from model.embedding.openvino_runtime import OpenVINOEmbedder

    try:
        model = export.exported_model(spec, cache_dir)
        try:
            return OpenVINOEmbedder(spec, model, precision=precision, threads=threads)
        except RuntimeError:
            log.warning("%s can't be read; exporting it again.", model)
            export.discard_export(spec, cache_dir)
            model = export.exported_model(spec, cache_dir)
            return OpenVINOEmbedder(spec, model, precision=precision, threads=threads)
    except (ImportError, export.ExportError) as error:
        log.warning("OpenVINO can't run %s, PyTorch does, more slowly: %s", spec.name, error)
        return None
