"""Measures fine-tuning: the job and the bare function, equal accuracy, and cancelling."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.gpu.embedding import BACKBONE, accuracy
from benchmarks.gpu.images import CLASSES, opened
from benchmarks.gpu.project import Bench
from benchmarks.gpu.table import Row
from model.backbones.families.tuned import install
from model.finetuning import Options, Target, finetune
from services.embedding.backbones import backbone_folder

VALIDATED = 0.2  # of the labels


def measure_finetuning(
    bench: Bench, jpegs: list[bytes], labels: list[int], train: int, device: str, folder: Path
) -> Iterator[Row]:
    """Rows of the table: seconds and accuracy of the job and of the bare function."""
    labels = labels[: len(jpegs)]
    bench.add_labels(labels[:train])
    bench.finetune()
    seconds = bench.wait(lambda: bench.project.next_backbone is not None, "tuned")
    tuned = bench.project.next_backbone
    assert tuned is not None
    cache = backbone_folder(bench.store.settings)
    yield Row("fine-tune job, with the worker's imports", seconds, "s")
    frozen = accuracy(BACKBONE, jpegs, labels, train, cache, device)
    by_job = accuracy(tuned, jpegs, labels, train, cache, device)
    bare, by_bare = _bare(jpegs, labels, train, device, folder, cache)
    yield Row("bare fine-tuning", bare, "s")
    yield Row("accuracy on images that were not labelled: frozen backbone", 100 * frozen, "%")
    yield Row("the same, tuned by the job", 100 * by_job, "%")
    yield Row("the same, tuned by the bare function", 100 * by_bare, "%")


def _bare(
    jpegs: list[bytes], labels: list[int], train: int, device: str, folder: Path, cache: Path
) -> tuple[float, float]:
    began = time.monotonic()
    result = finetune(
        BACKBONE,
        jpegs[:train],
        opened,
        [Target("kind", "single", CLASSES, np.array(labels[:train]))],
        np.arange(train) >= train * (1 - VALIDATED),
        options=Options(device=device),
        folder=folder,
        report=lambda progress: None,
        stop=lambda: False,
    )
    seconds = time.monotonic() - began
    assert result.path is not None, result
    return seconds, accuracy(install(result.path, cache), jpegs, labels, train, cache, device)


def measure_cancelling(bench: Bench) -> Iterator[Row]:
    """Rows of the table: GPU memory before, while and after a fine-tuning that is cancelled."""
    before = gpu_memory()

    def trains() -> bool:
        job = bench.finetuning()
        return job is not None and "training: step" in (job.message or "")

    bench.finetune()
    bench.wait(trains, "the fine-tuning trains")
    held = gpu_memory()
    bench.cancel()

    def freed() -> bool:
        return gpu_memory() <= before

    def ended() -> bool:
        job = bench.finetuning()
        return job is not None and job.ended_at is not None and freed()

    seconds = bench.wait(ended, "its memory is free")
    yield Row("GPU memory while fine-tuning, above before", held - before, "MiB")
    yield Row("cancel → that memory is free", seconds, "s")


def gpu_memory() -> float:
    """MiB in use on all GPUs, of all processes; 0 without a driver."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0.0
    return sum(float(line) for line in done.stdout.split())
