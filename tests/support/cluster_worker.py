"""A worker of the queue `embed` with an embedder without a network: its vectors are the pixels."""

import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backend import logs
from services.embedding import project_embedding, shard_embedding
from store.settings import Settings
from worker.queues.broker import broker_address
from worker.queues.store_claim import StoreCheck
from worker.queues.worker_loop import run_worker

SPACE = "small:a@float32"
GATE = "CLUSTER_GATE"  # names a file; while another process locks it, nothing is embedded
IMAGE_SECONDS = 0.002  # as much as a small network takes, without the processor: as on a GPU


class PixelEmbedder:
    """Takes the mean colour of an image."""

    key = SPACE
    dim = 3
    batch_size = 16

    def prepare(self, image: Image.Image) -> Any:
        return np.asarray(image.resize((4, 4)), np.float32)

    def embed(self, batch: Sequence[Any]) -> Any:
        with Path(os.environ[GATE]).open() as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
        time.sleep(IMAGE_SECONDS * len(batch))
        return np.stack([pixels.mean(axis=(0, 1)) / 255 for pixels in batch]).astype(np.float16)

    def close(self) -> None:
        pass


def main() -> None:
    settings = Settings()
    logs.configure("info")
    for module in (project_embedding, shard_embedding):
        module.open_backbone = lambda _store, _backbone: PixelEmbedder()  # type: ignore[attr-defined]
    refused = run_worker("embed", broker_address(settings), refuse=StoreCheck(settings).problem)
    assert refused is None, refused


if __name__ == "__main__":
    main()
