"""Measures embedding: the job, the bare loop, and what each of its options brings."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.images import opened
from benchmarks.gpu.project import Bench
from benchmarks.gpu.table import Row
from model.backbones import build_module, get_backbone
from model.embedding.preprocessing import prepare
from model.embedding.torch_runtime import TorchEmbedder

BACKBONE = "bundled:lite0"
BATCH = 128
OPTION_SECONDS = 2.0  # of a measurement of one option


def measure_embedding(bench: Bench, jpegs: list[bytes], device: str) -> Iterator[Row]:
    """Rows of the table: images a second by the job and by a bare loop, and equal results."""
    began = time.monotonic()
    bench.add_images(jpegs)
    bench.wait(lambda: bench.embedded() > 0, "the first images are embedded")
    first, first_at = bench.embedded(), time.monotonic()
    bench.wait(lambda: bench.embedded() == len(jpegs), "all images are embedded")
    ended = time.monotonic()
    yield Row("embed job: from the wish to the first images", first_at - began, "s")
    yield Row("embed job: then", (len(jpegs) - first) / max(ended - first_at, 1e-3), "images/s")
    features, seconds = _bare_loop(jpegs, device)
    yield Row("bare loop, bfloat16, decode overlapped", len(jpegs) / seconds, "images/s")
    stored = bench.embeddings().astype(np.float32)
    yield Row("least cosine of the job's and the bare loop's", _least_cosine(stored, features), "")


def measure_options(jpegs: list[bytes], device: str, *, compiled: bool) -> Iterator[Row]:
    """Rows of the table: images a second on prepared pixels, option by option."""
    spec = get_backbone(BACKBONE)
    pixels = [prepare(opened(jpeg), spec) for jpeg in jpegs[:BATCH]]
    exact = None
    for precision in ("float32", "bfloat16"):
        embedder = TorchEmbedder(spec, device=device, precision=precision)
        rate, features = _rate(embedder, pixels)
        exact = features if exact is None else exact
        yield Row(f"network alone, {precision}, channels_last", rate, "images/s")
        yield Row(f"least cosine of {precision} and float32", _least_cosine(features, exact), "")
        embedder.close()
    yield Row("network alone, bfloat16, contiguous", _contiguous_rate(pixels, device), "images/s")
    if compiled:
        embedder = TorchEmbedder(spec, device=device, precision="bfloat16", compiled=True)
        began = time.monotonic()
        embedder.embed(pixels)
        yield Row("compiling", time.monotonic() - began, "s")
        rate, features = _rate(embedder, pixels)
        yield Row("network alone, bfloat16, compiled", rate, "images/s")
        assert exact is not None
        yield Row("least cosine of compiled and float32", _least_cosine(features, exact), "")
        embedder.close()


def measure_little_memory(jpegs: list[bytes]) -> Iterator[Row]:
    """Rows of the table: what is left of a batch on a GPU that is nearly full (CUDA only)."""
    spec = get_backbone(BACKBONE)
    pixels = [prepare(opened(jpeg), spec) for jpeg in jpegs[:BATCH]]
    embedder = TorchEmbedder(spec, device="cuda", precision="float32")
    whole = embedder.embed(pixels).astype(np.float32)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(
        min(1.0, (torch.cuda.memory_allocated() + 200e6) / total)
    )
    try:
        little = embedder.embed(pixels).astype(np.float32)
        yield Row("with 200 MB for activations: images a batch", embedder.batch_size, "")
        yield Row("least cosine with and without", _least_cosine(little, whole), "")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        embedder.close()


def accuracy(
    backbone: str, jpegs: list[bytes], labels: list[int], train: int, cache: Path, device: str
) -> float:
    """Accuracy (0 to 1) of a logistic head on a backbone: fitted on the first `train` images."""
    from sklearn.linear_model import LogisticRegression

    from model.embedding import embed_stream, open_embedder

    embedder = open_embedder(backbone, device=device, cache_dir=cache)
    features = np.empty((len(jpegs), embedder.dim), np.float32)
    workers = os.cpu_count() or 1
    for row, vector in embed_stream(embedder, enumerate(jpegs), opened, workers=workers):
        if isinstance(vector, Exception):
            raise vector
        features[row] = vector
    embedder.close()
    head = LogisticRegression(max_iter=1000).fit(features[:train], labels[:train])
    return float(head.score(features[train:], labels[train:]))


def _bare_loop(jpegs: list[bytes], device: str) -> tuple[NDArray[np.float32], float]:
    """What anyone would write: decode in threads, then the network, batch by batch."""
    spec = get_backbone(BACKBONE)
    module = build_module(spec).eval().to(device).to(memory_format=torch.channels_last)
    mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)
    parts = []

    def batch_of(start: int) -> torch.Tensor:
        images = jpegs[start : start + BATCH]
        return torch.from_numpy(np.stack([prepare(opened(jpeg), spec) for jpeg in images]))

    with ThreadPoolExecutor(os.cpu_count()) as pool, torch.inference_mode():
        for warm in range(2):
            began = time.monotonic()
            starts = range(0, len(jpegs) if warm else BATCH, BATCH)
            parts = []
            for host in pool.map(batch_of, starts):
                x = host.to(device, non_blocking=True).permute(0, 3, 1, 2)
                with torch.autocast(torch.device(device).type, torch.bfloat16):
                    features = module((x.float() / 255 - mean) / std)
                parts.append(features.float().cpu().numpy())
    return np.concatenate(parts), time.monotonic() - began


def _rate(
    embedder: TorchEmbedder, pixels: list[NDArray[np.uint8]]
) -> tuple[float, NDArray[np.float32]]:
    features = embedder.embed(pixels).astype(np.float32)  # warms up
    done, began = 0, time.monotonic()
    while time.monotonic() - began < OPTION_SECONDS:
        embedder.embed(pixels)
        done += len(pixels)
    return done / (time.monotonic() - began), features


def _contiguous_rate(pixels: list[NDArray[np.uint8]], device: str) -> float:
    spec = get_backbone(BACKBONE)
    module = build_module(spec).eval().to(device)
    host = torch.from_numpy(np.stack(pixels))
    done, began = 0, 0.0
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16):
        for warm in range(2):
            done, began = 0, time.monotonic()
            while time.monotonic() - began < (OPTION_SECONDS if warm else 0.1):
                x = host.to(device).permute(0, 3, 1, 2).contiguous()
                module(x.float() / 255).cpu()
                done += len(pixels)
    return done / (time.monotonic() - began)


def _least_cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    dots = (a * b).sum(1)
    return float((dots / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())
