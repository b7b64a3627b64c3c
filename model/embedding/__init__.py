"""Computes embeddings of images on the fastest runtime of the machine: OpenVINO or PyTorch."""

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
