"""`apprentice export`, from labels to a folder that runs without Apprentice and says the same."""

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from model.backbones import build_module, get_backbone
from model.backbones.tuned import write_tuned
from store.projects import save_project
from store.spaces import begin_move
from store.tasks import list_tasks
from store.tuned import add_tuned
from store.versions import FINETUNE, HEAD, Version, list_versions
from tests.jobs.test_learn import pretend_published
from tests.jobs.test_moving import add
from tests.jobs.workbench import Workbench, label_config
from worker.backbones import keep_tuned
from worker.predictor import Predictor

pytestmark = pytest.mark.slow

UNLABELLED = (61, 62)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """60 labelled images on timm's smallest network, whose weights are in a file; served heads."""
    torch.manual_seed(0)
    module = timm.create_model("test_efficientnet", num_classes=0)
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    backbone = f"file:{tmp_path}/weights.safetensors?model=timm:test_efficientnet"
    monkeypatch.setattr("model.embedding.embedder._on_openvino", lambda *_: None)
    for name, value in (("backbone", backbone), ("precision", "float32")):
        monkeypatch.setenv(f"APPRENTICE_{name.upper()}", value)
        setattr(workbench.store.settings, name, value)
    project = workbench.store.database.write(
        lambda db: save_project(db, "default", 3, 3000, label_config=label_config())
    )
    made = Workbench(workbench.store, project.id, {})
    add(made, range(1, 63))
    made.run("embed")
    made.annotate({task: name for task, name in made.truth.items() if task not in UNLABELLED})
    made.run("learn")
    pretend_published(made)
    return made


def tune(bench: Workbench, folder: Path) -> None:
    """What a fine-tuning leaves behind: weights a little different, and a move to them."""
    settings = bench.store.settings
    spec = get_backbone(settings.backbone, settings.home / "backbones")
    weights = build_module(spec, settings.home / "backbones").state_dict()
    changed = {n: w * 1.01 if n.endswith("conv.weight") else w for n, w in weights.items()}
    digest = write_tuned(folder / "tuned.safetensors", changed, spec, {})
    backbone = keep_tuned(bench.store, folder / "tuned.safetensors")

    def write(db):
        add_tuned(
            db,
            bench.project_id,
            digest=digest,
            base_backbone=settings.backbone,
            labels=60,
            seen=range(1, 41),
            held=range(41, 61),
            report={},
        )
        begin_move(db, bench.project_id, backbone)

    bench.store.database.write(write)
    bench.run("embed")
    bench.run("learn")
    pretend_published(bench)


def served(bench: Workbench) -> Version:
    with bench.store.database.read() as db:
        return next(v for v in list_versions(db, bench.project_id) if v.status == "served")


def exported(bench: Workbench, folder: Path, fmt: str) -> "subprocess.CompletedProcess[str]":
    """The command line, as a person gives it."""
    arguments = ["export", "--project", "3", "--format", fmt, "--output", str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
    )


def assert_says_the_same(bench: Workbench, folder: Path, tmp_path: Path) -> None:
    version = served(bench)
    with bench.store.database.read() as db:
        tasks = {task.ls_id: task for task in list_tasks(db, bench.project_id)}
    images = []
    for task in UNLABELLED:
        images.append(tmp_path / f"{task}.png")
        images[-1].write_bytes(b64decode(tasks[task].uri.partition(",")[2]))
    done = subprocess.run(
        [sys.executable, "-P", str(folder / "infer.py"), *map(str, images)],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
    )
    said = [json.loads(line)["labels"]["kind"] for line in done.stdout.splitlines()]
    keys = [tasks[task].image_key for task in UNLABELLED]
    vectors = bench.store.embeddings.get(version.embedding_space, keys)
    learned = Predictor.load(bench.store, version).heads["kind"]
    expected = learned.probabilities(np.stack([vectors[key] for key in keys]))
    assert len(said) == len(UNLABELLED)
    for row, answer in enumerate(said):
        assert tuple(answer) == learned.head.classes
        np.testing.assert_allclose(list(answer.values()), expected[row], atol=1e-3)


def test_what_is_served_is_exported_and_says_the_same(bench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "export"
    done = exported(bench, folder, "onnx")
    assert done.returncode == 0, done.stderr
    assert f"apprentice v1 is in {folder}" in done.stdout
    assert served(bench).kind == HEAD
    assert_says_the_same(bench, folder, tmp_path)
    again = exported(bench, folder, "onnx")
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_a_tuned_backbone_is_exported_with_its_own_weights(
    bench: Workbench, tmp_path: Path
) -> None:
    tune(bench, tmp_path)
    assert served(bench).kind == FINETUNE
    folder = tmp_path / "export"
    done = exported(bench, folder, "torchscript")
    assert done.returncode == 0, done.stderr
    assert_says_the_same(bench, folder, tmp_path)
