"""`apprentice export`, from labels to a folder that runs without Apprentice and says the same."""

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from backend.cli.actions.export import export
from backend.cli.errors import CommandError
from model.backbones import build_module, get_backbone
from model.backbones.families.tuned import write_tuned
from services.embedding.backbones import store_finetuned
from services.suggestions.predictor import Predictor
from store.projects.embedding_spaces import begin_move
from store.tasks.tasks import list_tasks
from store.versions.finetuned_backbones import add_tuned
from store.versions.versions import FINETUNE, HEAD, Version, list_versions
from tests.support.workbench import Workbench
from tests.worker.jobs.test_learn import pretend_published
from tests.worker.jobs.test_moving import add, bench

__all__ = ["bench"]

pytestmark = pytest.mark.slow

UNLABELLED = range(61, 63)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def taught(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A project in which 60 images are labelled and two are not; heads are served."""
    monkeypatch.setenv("APPRENTICE_HEAD", "logistic")
    bench.store.settings.head = "logistic"
    bench.annotate(bench.truth)
    add(bench, UNLABELLED)
    bench.run("embed")
    bench.run("learn")
    pretend_published(bench)
    return bench


def tune(bench: Workbench, folder: Path) -> None:
    """What a fine-tuning leaves behind: weights a little different, and a move to them."""
    settings = bench.store.settings
    spec = get_backbone(settings.backbone, settings.home / "backbones")
    weights = build_module(spec, settings.home / "backbones").state_dict()
    changed = {n: w * 1.01 if n == "0.weight" else w for n, w in weights.items()}
    digest = write_tuned(folder / "tuned.safetensors", changed, spec, {})
    backbone = store_finetuned(bench.store, folder / "tuned.safetensors")

    def write(db):
        add_tuned(
            db,
            bench.project_id,
            digest=digest,
            base_backbone=settings.backbone,
            labels=60,
            training_tasks=range(1, 41),
            validation_tasks=range(41, 61),
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


def command_line(folder: Path) -> "subprocess.CompletedProcess[str]":
    """The command as a person gives it."""
    arguments = ["export", "--project", "3", "--output", str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "tests.support.small_command", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
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
        timeout=600,
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


def test_what_is_served_is_exported_and_says_the_same(taught: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "export"
    done = command_line(folder)
    assert done.returncode == 0, done.stderr
    assert f"apprentice v1 is in {folder}" in done.stdout
    assert served(taught).kind == HEAD
    assert_says_the_same(taught, folder, tmp_path)
    with pytest.raises(CommandError, match="is there already"):
        export(3, folder)
    tune(taught, tmp_path)
    assert served(taught).kind == FINETUNE
    tuned = tmp_path / "tuned"
    export(3, tuned)
    assert_says_the_same(taught, tuned, tmp_path)
    said = json.loads((tuned / "labels.json").read_text())
    assert said["version"] == served(taught).name
