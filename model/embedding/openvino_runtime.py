"""Embeds images on a CPU with OpenVINO, in one single-threaded stream for each core.

No core waits for another inside a layer, so that threads that decode images slow inference down by
no more than their own time.
"""

import functools
import queue
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.arrays import Float16s
from model.backbones import BackboneSpec
from model.backbones.openvino_import import import_openvino
from model.embedding import preprocessing

# Images in one inference request. On CPUs throughput is the same from one image on; a few make the
# overhead of a request small.
REQUEST_SIZE = 8


@functools.cache
def core() -> Any:
    """Return OpenVINO's core, one for the whole life of the process.

    The CPU plugin gives the thread that loads it an alternate signal stack and frees it with the
    core. Freed from another thread, it stays in use, and the process dies of its next signal.
    """
    return import_openvino().Core()


def compile_model(model: Path, *, precision: str, threads: int) -> Any:
    """Compile a `model.xml` for the CPU; `precision` is float32 or bfloat16."""
    settings = {
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        # Other processes compute on the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core().compile_model(model, "CPU", settings)


class OpenVINOEmbedder:
    """An `Embedder` on the CPU. Several threads may call `embed` at once."""

    def __init__(self, spec: BackboneSpec, model: Path, *, precision: str, threads: int) -> None:
        compiled = compile_model(model, precision=precision, threads=threads)
        self._spec = spec
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(threads):
            self._idle.put(compiled.create_infer_request())
        self.key = spec.space(precision)
        self.dim = spec.dim
        self.batch_size = threads * REQUEST_SIZE
        self._threads = threads

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB image of any size to the backbone's input [H, W, 3]."""
        return preprocessing.prepare(image, self._spec)

    def embed(self, batch: Sequence[NDArray[np.uint8]]) -> Float16s:
        """Return the embeddings [N, D] of N prepared images, in their order."""
        features = np.empty((len(batch), self.dim), np.float16)
        size = min(REQUEST_SIZE, -(-len(batch) // self._threads))
        running: deque[tuple[Any, slice]] = deque()
        for start in range(0, len(batch), size or 1):
            rows = slice(start, min(start + size, len(batch)))
            request = self._take(running, features)
            request.start_async({0: np.stack(batch[rows])}, share_inputs=True)
            running.append((request, rows))
        while running:
            self._idle.put(self._finish(*running.popleft(), features))
        return features

    def close(self) -> None:
        """Wait for running requests; `embed` must not be called again."""
        for _ in range(self._threads):
            self._idle.get()

    def _take(self, running: deque[tuple[Any, slice]], features: Float16s) -> Any:
        # A caller finishes its own requests first: two callers that wait for each other's would
        # deadlock.
        if running and self._idle.empty():
            return self._finish(*running.popleft(), features)
        return self._idle.get()

    def _finish(self, request: Any, rows: slice, features: Float16s) -> Any:
        request.wait()
        features[rows] = request.get_output_tensor().data
        return request
