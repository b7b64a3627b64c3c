"""Embeds images with PyTorch, on a GPU, or on a CPU if OpenVINO can't run the backbone."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.arrays import Float16s
from model.backbones import BackboneSpec, build_module
from model.embedding import preprocessing
from model.micro_batches import MicroBatches

log = logging.getLogger(__name__)

GPU_BATCH_SIZE = 128
CPU_BATCH_SIZE = 16


class TorchEmbedder:
    """An `Embedder` on "cpu" or "cuda". Several threads may call `embed` at once.

    `compiled` compiles the network for full batches: convolutional networks are about twice as
    fast, after a minute of compiling.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        *,
        device: str,
        precision: str,
        threads: int | None = None,
        compiled: bool = False,
        folder: Path | None = None,
    ) -> None:
        if threads is not None and device == "cpu":
            torch.set_num_threads(threads)
        self._spec = spec
        self._device = torch.device(device)
        self._amp = precision == "bfloat16"
        module = build_module(spec, folder).to(self._device).to(memory_format=torch.channels_last)
        self._module = torch.compile(module) if compiled else module
        self._fixed_batches = compiled
        self._mean = self._per_channel(spec.mean)
        self._std = self._per_channel(spec.std)
        self.key = spec.space(precision)
        self.dim = spec.dim
        self.batch_size = GPU_BATCH_SIZE if device == "cuda" else CPU_BATCH_SIZE

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB image of any size to the backbone's input [H, W, 3]."""
        return preprocessing.prepare(image, self._spec)

    def embed(self, batch: Sequence[NDArray[np.uint8]]) -> Float16s:
        """Return the embeddings [N, D] of N prepared images, in their order.

        Batches are halved when memory runs out: others may use the GPU, too.
        """
        features = np.empty((len(batch), self.dim), np.float16)

        def part(rows: Sequence[int]) -> None:
            features[rows] = self._run(np.stack([batch[row] for row in rows]))

        micro_batches = MicroBatches(self.batch_size)
        while not micro_batches.run(range(len(batch)), part):
            self.batch_size = min(self.batch_size, micro_batches.size)
            log.warning("out of memory: batches of %s images from now on", self.batch_size)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return features

    def close(self) -> None:
        """Free the network's memory; `embed` must not be called again."""
        del self._module
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, pixels: NDArray[np.uint8]) -> Float16s:
        count = len(pixels)
        if self._fixed_batches and count < self.batch_size:
            # A new batch size would be compiled anew.
            missing = (self.batch_size - count, *pixels.shape[1:])
            pixels = np.concatenate([pixels, np.zeros(missing, np.uint8)])
        host = torch.from_numpy(pixels)
        if self._device.type == "cuda":
            host = host.pin_memory()
        # Moved as bytes; [N, H, W, 3] seen as [N, 3, H, W] is channels_last already.
        x = host.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._amp),
        ):
            features = self._module((x.float() / 255 - self._mean) / self._std)
        return features[:count].to("cpu", torch.float16).numpy()  # type: ignore[no-any-return]

    def _per_channel(self, values: tuple[float, float, float]) -> torch.Tensor:
        return torch.tensor(values, device=self._device).view(1, 3, 1, 1)
