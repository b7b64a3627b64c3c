"""Computes embeddings of images, with OpenVINO on CPUs and PyTorch on GPUs."""

from model.embedding.devices import UnavailableError, preferred_precision, resolve_device
from model.embedding.embedder import Embedder, open_embedder
from model.embedding.stream import embed_stream

__all__ = [
    "Embedder",
    "UnavailableError",
    "embed_stream",
    "open_embedder",
    "preferred_precision",
    "resolve_device",
]
