"""Embeds the images of a data set with the bundled backbone."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.selection.datasets.dataset import Images
from model.embedding import embed_stream, open_embedder

BACKBONE = "bundled:lite0"


def features(
    images: Images, backbone: str = BACKBONE, cache: Path | None = None
) -> NDArray[np.float16]:
    """Embeddings [N, D] of the images."""
    with tempfile.TemporaryDirectory() as scratch:
        embedder = open_embedder(backbone, device="cpu", cache_dir=cache or Path(scratch))
        x = np.empty((len(images), embedder.dim), np.float16)
        for row, vector in embed_stream(embedder, enumerate(images), lambda i: i, workers=2):
            if isinstance(vector, Exception):
                raise vector
            x[row] = vector
        embedder.close()
    return x
