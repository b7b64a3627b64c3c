"""Measures embedding from JPEG bytes to vectors, relative to OpenVINO's own speed.

    python benchmarks/embedding.py [--images 2000] [--rounds 3] [--threads 2]

Needs the extras `worker` and `dev`. The images are the 2,000 JPEGs of 250 x 250 pixels of the
package conformal-clip-data. "Alone" is OpenVINO's asynchronous queue on pixels that are in memory
already; both are measured in turns in one process, and the medians are compared. The bar: 85%.
"""

import argparse
import importlib.metadata
import io
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from conformal_clip_data import textile_simulated_root
from numpy.typing import NDArray
from PIL import Image

from model.backbones import get_backbone
from model.backbones.openvino_import import import_openvino
from model.embedding import embed_stream, open_embedder
from model.embedding.devices import available_cpus, resolve_precision
from model.embedding.openvino_export import exported_model
from model.embedding.openvino_runtime import REQUEST_SIZE, compile_model

BACKBONE = "bundled:lite0"
BAR = 0.85


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def timed(work: Callable[[], None], images: int) -> tuple[float, float]:
    """Images a second, and images a second of CPU time, which other programs disturb less."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return images / (time.perf_counter() - wall), images / (time.process_time() - cpu)


def alone(
    model: Path, precision: str, threads: int, pixels: NDArray[np.uint8]
) -> Callable[[], None]:
    """Inference on what is in memory, as fast as OpenVINO can."""
    compiled = compile_model(model, precision=precision, threads=threads)
    requests = import_openvino().AsyncInferQueue(compiled, threads)

    def work() -> None:
        for start in range(0, len(pixels), REQUEST_SIZE):
            requests.start_async({0: pixels[start : start + REQUEST_SIZE]}, share_inputs=True)
        requests.wait_all()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_cpus())
    options = parser.parse_args()

    files = sorted(textile_simulated_root().rglob("*.jpg"))
    data = [path.read_bytes() for path in files[:: len(files) // options.images or 1]]
    precision = resolve_precision("auto", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        started = time.perf_counter()
        open_embedder(BACKBONE, device="cpu", cache_dir=cache, threads=options.threads).close()
        exported = time.perf_counter()
        embedder = open_embedder(BACKBONE, device="cpu", cache_dir=cache, threads=options.threads)
        opened = time.perf_counter()
        pixels = np.stack([embedder.prepare(decode(item)) for item in data])
        model = exported_model(get_backbone(BACKBONE), cache)
        run_alone = alone(model, precision, options.threads, pixels)

        def run_stream() -> None:
            items = enumerate(data)
            done = sum(1 for _ in embed_stream(embedder, items, decode, workers=options.threads))
            assert done == len(data)

        for warm_up in (run_alone, run_stream):
            timed(warm_up, len(data))
        rounds = [
            (timed(run_alone, len(data)), timed(run_stream, len(data)))
            for _ in range(options.rounds)
        ]

    versions = ", ".join(
        f"{package} {importlib.metadata.version(package)}"
        for package in ("openvino", "pillow", "numpy")
    )
    print(f"{platform.platform()}, {options.threads} threads, {precision}; {versions}")
    print(f"export and first opening {exported - started:.1f} s, later {opened - exported:.2f} s")
    for name, kind in (("wall", 0), ("CPU", 1)):
        fast = statistics.median(alone[kind] for alone, _ in rounds)
        whole = statistics.median(stream[kind] for _, stream in rounds)
        ratio = statistics.median(stream[kind] / alone[kind] for alone, stream in rounds)
        print(
            f"{name}: OpenVINO alone {fast:.0f} images/s, bytes to vectors {whole:.0f} images/s, "
            f"ratio {ratio:.1%} (bar {BAR:.0%})"
        )


if __name__ == "__main__":
    main()
