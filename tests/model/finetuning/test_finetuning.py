"""Fine-tuning as its caller sees it, on small networks with random weights."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model.backbones import build_module, get_backbone
from model.finetuning import (
    Cancelled,
    CannotFinetuneError,
    Finetuned,
    Options,
    Progress,
    Target,
    finetune,
)
from tests.support import tiny_backbones
from tests.support.stripes import CLASSES, stripes

COUNT, HELD = 96, 30  # images, and how many of them are validated on
QUICK = Options(
    epochs=6,
    batch_size=16,
    learning_rate=3e-3,
    head_rate=3e-3,
    device="cpu",
    precision="float32",
    threads=1,
)
IMAGES, Y = stripes(COUNT)
VALIDATION = np.arange(COUNT) >= COUNT - HELD


def nothing(_: Progress) -> None:
    pass


def never() -> bool:
    return False


def tune(
    folder: Path,
    options: Options = QUICK,
    targets: list[Target] | None = None,
    *,
    backbone: str = "tiny:cnn",
    load: Callable[[int], Image.Image] = lambda row: IMAGES[row],
    report: Callable[[Progress], None] = nothing,
    stop: Callable[[], bool] = never,
    validation: NDArray[np.bool_] = VALIDATION,
) -> Finetuned:
    return finetune(
        backbone,
        range(COUNT),
        load,
        targets or [Target("kind", "single", CLASSES, Y)],
        validation,
        options=options,
        folder=folder,
        report=report,
        stop=stop,
    )


def changed(**options: object) -> Options:
    return Options(**{**QUICK.__dict__, **options})  # type: ignore[arg-type]


def accuracy(tuned: Finetuned, name: str = "kind") -> float:
    return float((tuned.validation_outputs[name].argmax(1) == Y[VALIDATION]).mean())


def test_it_learns_what_the_pretrained_features_do_not_show(tmp_path: Path) -> None:
    tuned = tune(tmp_path, changed(epochs=12, patience=5))

    start = next(e for e in tuned.history if e.share == 0)
    assert tuned.history[-1].error < start.error / 2
    assert accuracy(tuned) == pytest.approx(1 - tuned.history[-1].error)


def test_the_file_becomes_a_backbone_that_gives_the_same_outputs(tmp_path: Path) -> None:
    from model.backbones.families.tuned import install, tuned_facts
    from model.embedding import open_embedder

    tuned = tune(tmp_path / "job")
    name = install(tuned.path, tmp_path / "cache")
    spec = get_backbone(name, tmp_path / "cache")
    base = get_backbone("tiny:cnn")

    assert name == f"tuned:{tuned.digest}"
    assert (spec.dim, spec.mean) == (base.dim, base.mean)
    # It looks at all of the image, at the scale that it knows.
    assert (base.input_size, base.crop_pct) == (32, 0.8)
    assert (spec.input_size, spec.crop_pct) == (40, 1.0)
    assert tuned_facts(tuned.path)["base"] == "tiny:cnn"
    before, after = build_module(base), build_module(spec, tmp_path / "cache")
    assert not all(
        torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)
    )
    # Batch norms go on with what they were pretrained with.
    for old, new in zip(before.buffers(), after.buffers(), strict=True):
        torch.testing.assert_close(old, new)
    embedder = open_embedder(name, device="cpu", precision="float32", cache_dir=tmp_path / "cache")
    pixels = embedder.prepare(IMAGES[0])
    with torch.inference_mode():
        x = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
        expected = after(x).numpy()
    embedder_features = embedder.embed([pixels])
    embedder.close()
    np.testing.assert_allclose(embedder_features, expected, atol=2e-3)


def test_a_tuned_file_that_was_changed_is_not_used(tmp_path: Path) -> None:
    from model.backbones.families.tuned import install

    tuned = tune(tmp_path / "job", changed(epochs=1))
    name = install(tuned.path, tmp_path)
    file = tmp_path / "tuned" / tuned.digest / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)

    with pytest.raises(ValueError, match="was changed"):
        build_module(get_backbone(name, tmp_path), tmp_path)


def test_the_same_job_gives_the_same_file(tmp_path: Path) -> None:
    options = changed(epochs=2)

    assert tune(tmp_path / "a", options).digest == tune(tmp_path / "b", options).digest
    other = tune(tmp_path / "c", changed(epochs=2, seed=1))
    assert other.digest != tune(tmp_path / "a", options).digest


@pytest.mark.parametrize("backbone", ["tiny:cnn", "tiny:vit"])
def test_a_cancelled_job_goes_on_where_it_was(tmp_path: Path, backbone: str) -> None:
    whole = tune(tmp_path / "whole", backbone=backbone)
    told: list[Progress] = []

    def enough() -> bool:
        return any(p.phase == "training" and p.step == 13 for p in told)

    with pytest.raises(Cancelled):
        tune(tmp_path / "cut", backbone=backbone, report=told.append, stop=enough)
    again: list[Progress] = []
    cut = tune(tmp_path / "cut", backbone=backbone, report=again.append)

    steps = [p.step for p in again if p.phase == "training"]
    assert steps[0] >= 13  # a checkpoint each step: there are 24
    assert not [p for p in again if p.phase == "features"]
    assert cut.digest == whole.digest
    assert cut.history == whole.history


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.model.finetuning.test_finetuning import tune
def report(progress):
    if progress.phase == "training" and progress.step == 15:
        os.kill(os.getpid(), signal.SIGKILL)
tune(Path(sys.argv[1]), report=report)
"""


def test_a_killed_job_repeats_little(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    again: list[Progress] = []
    tuned = tune(tmp_path, report=again.append)

    assert done.returncode == -9
    first = next(p for p in again if p.phase == "training")
    assert 15 - (first.step - 1) <= 0.1 * first.steps
    assert tuned.history[-1].error < 0.5


def test_another_job_in_the_folder_begins_anew(tmp_path: Path) -> None:
    first = tune(tmp_path, changed(epochs=1))
    again: list[Progress] = []
    second = tune(tmp_path, changed(epochs=2), report=again.append)

    assert second.history != first.history
    assert {p.phase for p in again} == {"images", "features", "training", "choosing"}


def test_a_finished_job_is_not_done_again(tmp_path: Path) -> None:
    first = tune(tmp_path, changed(epochs=1))
    again: list[Progress] = []

    assert tune(tmp_path, changed(epochs=1), report=again.append).digest == first.digest
    assert not again


def test_progress_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[Progress] = []
    tune(tmp_path, changed(epochs=2), report=told.append)

    training = [p for p in told if p.phase == "training"]
    assert [p.step for p in training] == list(range(1, training[0].steps + 1))
    assert all(p.loss is not None and p.images_per_second > 0 for p in training)
    assert training[-1].seconds_left == 0


def test_stop_is_asked_within_a_batch(tmp_path: Path) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return False

    told: list[Progress] = []
    tune(tmp_path, changed(epochs=1, micro_batch=4), report=told.append, stop=stop)

    assert asked > 4 * len([p for p in told if p.phase == "training"])


def test_parts_of_a_batch_add_up_to_the_batch(tmp_path: Path) -> None:
    whole = tune(tmp_path / "whole", changed(epochs=1, micro_batch=16))
    parts = tune(tmp_path / "parts", changed(epochs=1, micro_batch=3))

    np.testing.assert_allclose(
        whole.validation_outputs["kind"], parts.validation_outputs["kind"], atol=1e-2
    )


def test_an_image_that_cannot_be_loaded_is_left_out(tmp_path: Path) -> None:
    def load(row: int) -> Image.Image:
        if row in {3, COUNT - 1}:
            raise FileNotFoundError(row)
        return IMAGES[row]

    tuned = tune(tmp_path, changed(epochs=1), load=load)

    assert tuned.unreadable == (3, COUNT - 1)
    outputs = tuned.validation_outputs["kind"]
    assert np.isnan(outputs[-1]).all()
    assert np.isfinite(outputs[:-1]).all()


def test_several_targets_share_the_backbone(tmp_path: Path) -> None:
    several = np.stack([Y == 0, Y != 1], axis=1).astype(np.float32)
    several[::7] = np.nan
    number = 10.0 + 5 * Y
    number[::5] = np.nan
    unknown = Y.copy()
    unknown[::4] = -1
    targets = [
        Target("kind", "single", CLASSES, unknown),
        Target("some", "multi", ("a", "b"), several),
        Target("angle", "number", (), number),
    ]
    outputs = tune(tmp_path, changed(epochs=12), targets).validation_outputs

    held, known = Y[VALIDATION], np.isfinite(several[VALIDATION])
    assert (outputs["kind"].argmax(1) == held).mean() > 0.8
    agree = (outputs["some"] > 0) == (several[VALIDATION] > 0)
    assert agree[known].mean() > 0.8
    assert outputs["angle"].shape == (HELD, 1)
    assert np.abs(outputs["angle"][:, 0] - (10 + 5 * held)).mean() < 2.5


def test_without_validation_all_of_the_way_is_gone(tmp_path: Path) -> None:
    tuned = tune(tmp_path, changed(epochs=1), validation=np.zeros(COUNT, bool))

    assert tuned.history[-1].share == 1
    assert tuned.validation_outputs["kind"].shape == (0, 3)


def test_one_answer_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotFinetuneError, match="two different answers"):
        tune(tmp_path, targets=[Target("kind", "single", CLASSES, np.zeros(COUNT, np.intp))])


def test_adapters_are_refused_where_there_is_nothing_to_adapt(tmp_path: Path) -> None:
    with pytest.raises(CannotFinetuneError, match="choose the method full"):
        tune(tmp_path, changed(method="lora"))


@pytest.mark.parametrize("backbone", ["tiny:vit", "tiny:attentive"])
def test_adapters_are_merged_into_the_matrices(tmp_path: Path, backbone: str) -> None:
    from model.backbones.families.tuned import install

    tuned = tune(tmp_path / "job", backbone=backbone)
    name = install(tuned.path, tmp_path)
    before = build_module(get_backbone(backbone)).state_dict()
    after = build_module(get_backbone(name, tmp_path), tmp_path).state_dict()

    assert tuned.method == "lora"
    assert tuned.history[-1].share > 0
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert moved
    assert all(after[n].ndim == 2 for n in moved)


def test_the_last_blocks_alone_are_trained(tmp_path: Path) -> None:
    from model.backbones.families.tuned import install

    tuned = tune(tmp_path / "job", changed(method="last"))
    name = install(tuned.path, tmp_path)
    before = build_module(get_backbone("tiny:cnn")).state_dict()
    after = build_module(get_backbone(name, tmp_path), tmp_path).state_dict()

    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert moved
    assert all(n.startswith("2.") for n in moved)


@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    def together(folder: str, processes: int, stop: Callable[[], bool] = never) -> list[Progress]:
        told: list[Progress] = []
        options = Options(
            epochs=1,
            batch_size=8,
            micro_batch=4,
            device="cpu",
            precision="float32",
            processes=processes,
            augment="photo",
        )
        results[folder] = finetune(
            "bundled:lite0",
            range(16),
            lambda row: IMAGES[row],
            [Target("kind", "single", CLASSES, Y[:16])],
            np.arange(16) >= 12,
            options=options,
            folder=tmp_path / folder,
            report=told.append,
            stop=stop,
        )
        return told

    results: dict[str, Finetuned] = {}
    together("one", 1)
    told = together("two", 2)

    assert {p.phase for p in told} == {"images", "features", "training", "choosing"}
    assert (tmp_path / "two" / "processes.log").exists()
    one, two = (results[name].validation_outputs["kind"] for name in ("one", "two"))
    np.testing.assert_allclose(one, two, atol=0.05)


@pytest.mark.slow
def test_cancelling_ends_all_processes(tmp_path: Path) -> None:
    told: list[Progress] = []
    with pytest.raises(Cancelled):
        finetune(
            "bundled:lite0",
            range(16),
            lambda row: IMAGES[row],
            [Target("kind", "single", CLASSES, Y[:16])],
            np.arange(16) >= 12,
            options=Options(epochs=99, batch_size=8, device="cpu", processes=2),
            folder=tmp_path,
            report=told.append,
            stop=lambda: any(p.phase == "training" for p in told),
        )

    of_ours = [
        p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in (p.info["cmdline"] or [])
    ]
    _, alive = psutil.wait_procs(of_ours, timeout=20)
    assert not alive


def test_asking_for_fine_tuning_imports_no_torch() -> None:
    code = "import sys, model.finetuning; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


assert tiny_backbones.BUILDERS, "the family is registered by importing it"
