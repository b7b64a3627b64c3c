"""Embedding: what goes in is what timm would put in, what comes out is what PyTorch would give."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conformal_clip_data import textile_simulated_root
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression

from model.backbones import get_backbone
from model.embedding import (
    Embedder,
    UnavailableError,
    embed_stream,
    open_embedder,
    preferred_precision,
)
from model.embedding.devices import GPU_DRIVER_FILES
from model.embedding.preprocessing import prepare

SPEC = get_backbone("bundled:lite0")
NO_GPU = not any(path.exists() for path in GPU_DRIVER_FILES)


def cosines(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def torch_features(images: list[Image.Image]) -> NDArray[np.float16]:
    from model.embedding.torch_runtime import TorchEmbedder

    reference = TorchEmbedder(SPEC, device="cpu", precision="float32")
    return reference.embed([reference.prepare(image) for image in images])


@pytest.mark.parametrize(
    "size", [(250, 250), (640, 427), (427, 640), (256, 256), (97, 31), (1, 1), (225, 1000)]
)
def test_the_pixels_are_those_of_timms_evaluation(size: tuple[int, int]) -> None:
    from timm.data import create_transform

    photograph = Image.fromarray(load_sample_images().images[0])
    image = photograph.resize(size)
    transform = create_transform(
        (3, 224, 224), interpolation="bicubic", crop_pct=SPEC.crop_pct, mean=(0,) * 3, std=(1,) * 3
    )
    theirs = (transform(image).numpy().transpose(1, 2, 0) * 255).round()

    # Pillow rounds between its two passes, and their order depends on the box.
    difference = np.abs(prepare(image, SPEC) - theirs)
    assert difference.max() <= 2
    assert difference.mean() < 0.2


def test_a_very_large_image_is_shrunk_in_steps_without_visible_loss() -> None:
    photograph = Image.fromarray(load_sample_images().images[0]).resize((4000, 3000))
    direct = photograph.resize((341, 256), Image.Resampling.BICUBIC).crop((58, 16, 282, 240))

    difference = np.abs(prepare(photograph, SPEC) - np.asarray(direct, np.float32))

    assert difference.mean() < 1.5


def test_openvino_computes_what_pytorch_computes(
    embedder: Embedder, textiles: list[Image.Image]
) -> None:
    images = [*textiles, *(Image.fromarray(image) for image in load_sample_images().images)]
    ours = embedder.embed([embedder.prepare(image) for image in images])

    assert ours.shape == (len(images), 1280)
    assert ours.dtype == np.float16
    assert cosines(ours, torch_features(images)).min() >= 0.999


@pytest.mark.skipif(preferred_precision("cpu") != "bfloat16", reason="this CPU has no bfloat16")
def test_bfloat16_is_close(embedder_cache: Path, textiles: list[Image.Image]) -> None:
    half = open_embedder(
        "bundled:lite0", device="cpu", precision="bfloat16", cache_dir=embedder_cache
    )

    assert half.key == "bundled:lite0@bfloat16"
    ours = half.embed([half.prepare(image) for image in textiles])
    assert cosines(ours, torch_features(textiles)).min() >= 0.99


@pytest.mark.skipif(preferred_precision("cpu") == "bfloat16", reason="this CPU has bfloat16")
def test_bfloat16_by_name_on_a_cpu_without_it_is_refused(embedder_cache: Path) -> None:
    with pytest.raises(UnavailableError, match="bfloat16"):
        open_embedder("bundled:lite0", device="cpu", precision="bfloat16", cache_dir=embedder_cache)


@pytest.mark.skipif(not NO_GPU, reason="a GPU driver is there")
def test_a_gpu_by_name_on_a_machine_without_one_is_refused(embedder_cache: Path) -> None:
    with pytest.raises(UnavailableError, match="CUDA"):
        open_embedder("bundled:lite0", device="cuda", cache_dir=embedder_cache)


@pytest.mark.parametrize("count", [0, 1, 3, 17, 40])
def test_rows_do_not_depend_on_the_batch(
    embedder: Embedder, textiles: list[Image.Image], count: int
) -> None:
    prepared = [embedder.prepare(image) for image in textiles[:count]]
    together = embedder.embed(prepared)

    assert together.shape == (count, embedder.dim)
    for row, pixels in zip(together, prepared, strict=True):
        np.testing.assert_allclose(row, embedder.embed([pixels])[0], atol=2e-2)


def test_threads_may_embed_at_the_same_time(
    embedder: Embedder, textiles: list[Image.Image]
) -> None:
    prepared = [embedder.prepare(image) for image in textiles]
    expected = embedder.embed(prepared)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(embedder.embed, [prepared] * 6))

    for result in results:
        np.testing.assert_allclose(result, expected, atol=2e-2)


def test_an_exported_backbone_opens_without_torch_and_without_telemetry(
    embedder_cache: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from model.embedding import open_embedder;"
        f"open_embedder('bundled:lite0', cache_dir=Path({str(embedder_cache)!r}));"
        "sys.exit('torch' in sys.modules or bool(sys.modules['openvino_telemetry']))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"HOME": str(tmp_path)}, check=False)

    assert done.returncode == 0 or not NO_GPU
    assert list(tmp_path.iterdir()) == []


def test_processes_that_want_it_first_share_one_export_and_report_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    cache = tmp_path / "cache"
    code = (
        "from pathlib import Path; from model.embedding import open_embedder;"
        f"open_embedder('bundled:lite0', device='cpu', cache_dir=Path({str(cache)!r}))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], env={"HOME": str(home)}) for _ in range(2)
    ]

    assert [process.wait() for process in started] == [0, 0]
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1
    assert list(home.iterdir()) == []


def test_signals_are_survived_after_an_embedder_was_dropped_by_another_thread(
    embedder_cache: Path,
) -> None:
    code = (
        "import os, signal, threading; from pathlib import Path\n"
        "from model.embedding import open_embedder\n"
        f"held = [open_embedder('bundled:lite0', device='cpu', "
        f"cache_dir=Path({str(embedder_cache)!r}))]\n"
        "dropping = threading.Thread(target=held.clear); dropping.start(); dropping.join()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_a_damaged_export_is_made_again(embedder_cache: Path, tmp_path: Path) -> None:
    import shutil

    cache = tmp_path / "cache"
    shutil.copytree(embedder_cache, cache)
    weights = next(cache.rglob("model.bin"))
    weights.write_bytes(weights.read_bytes()[:1000])
    embedder = open_embedder("bundled:lite0", device="cpu", cache_dir=cache)

    assert weights.stat().st_size > 1_000_000
    assert embedder.embed([np.zeros((224, 224, 3), np.uint8)]).shape == (1, 1280)


@pytest.mark.slow
def test_a_head_is_as_good_on_either_runtime(embedder_cache: Path) -> None:
    files = sorted(textile_simulated_root().rglob("*.jpg"))[::5]
    images = [Image.open(path).convert("RGB") for path in files]
    y = np.array([path.parent.name for path in files])
    ours = open_embedder("bundled:lite0", device="cpu", cache_dir=embedder_cache)
    x = np.empty((len(images), ours.dim), np.float16)
    for index, row in embed_stream(ours, enumerate(images), lambda image: image, workers=2):
        assert isinstance(row, np.ndarray)
        x[index] = row
    test = np.arange(len(y)) % 2 == 0
    # Each half is tested by a head of the other, so that one image is a quarter of a point.
    accuracies = [
        np.mean(
            [
                LogisticRegression(C=0.05, max_iter=2000)
                .fit(features[~rows], y[~rows])
                .score(features[rows], y[rows])
                for rows in (test, ~test)
            ]
        )
        for features in (x.astype(np.float32), torch_features(images).astype(np.float32))
    ]

    assert abs(accuracies[0] - accuracies[1]) <= 0.005


def test_batches_are_halved_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from model.embedding.torch_runtime import TorchEmbedder

    embedder = TorchEmbedder(SPEC, device="cpu", precision="float32")
    rng = np.random.default_rng(0)
    pixels = list(rng.integers(0, 256, (11, *SPEC.shape, 3), np.uint8))
    whole = embedder.embed(pixels)
    run = embedder._run

    def run_at_most_3(part):
        if len(part) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return run(part)

    monkeypatch.setattr(embedder, "_run", run_at_most_3)
    np.testing.assert_allclose(embedder.embed(pixels), whole, atol=0.01)
    assert embedder.batch_size == 2
    embedder.close()
