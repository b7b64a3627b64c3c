"""What fine-tuned backbones leave behind goes once nothing needs it, and not before."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from model.backbones import get_backbone
from model.backbones.families.tuned import FORMAT, METADATA
from services.embedding.backbones import local_finetuned
from services.finetuning.cleanup import delete_unused_backbones
from services.versions.rollback import VersionError, rollback
from store.files.artifacts import ArtifactError
from store.tasks.tasks import list_tasks
from store.versions.finetuned_backbones import add_tuned, find_tuned
from store.versions.versions import find_version
from store.work import pending_work
from tests.support.workbench import CLASSES, SPACE, Workbench
from tests.worker.jobs.test_embedding_spaces import fill, move, newest, serve_first
from tests.worker.jobs.test_learn import label, pretend_published
from worker.jobs.runner import running

FIRST, SECOND = (f"tuned:{letter * 64}" for letter in "ab")


def space_of(backbone: str) -> str:
    return f"{backbone}@float32"


def weights(bench: Workbench, backbone: str) -> Path:
    digest = backbone.partition(":")[2]
    return bench.store.settings.home / "backbones" / "tuned" / digest / "model.safetensors"


def know(bench: Workbench, backbone: str) -> None:
    labelled = sorted(task for name in CLASSES for task in bench.tasks_of(name, 20))
    bench.store.database.write(
        lambda db: add_tuned(
            db,
            bench.project_id,
            digest=backbone.partition(":")[2],
            base_backbone="test:tiny",
            labels=60,
            training_tasks=labelled[15:],
            validation_tasks=labelled[:15],
            report={},
        )
    )


def keep_weights(bench: Workbench, backbone: str) -> None:
    file = weights(bench, backbone)
    file.parent.mkdir(parents=True)
    said = {"format": FORMAT, "base": asdict(get_backbone("bundled:lite0")), "facts": {}}
    save_file({"w": np.zeros(4)}, file, metadata={METADATA: json.dumps(said)})
    digest = backbone.partition(":")[2]
    bench.store.artifacts.save_files(f"tuned/{digest}", file.parent)
    export = file.parents[2] / f"tuned-{digest}"[-60:]
    (export.parent / f"{export.name}-{digest[:16]}-openvino-1-r1").mkdir()


def serve_tuned(bench: Workbench, backbone: str, spread: float) -> None:
    know(bench, backbone)
    fill(bench, space_of(backbone), spread=spread)
    move(bench, backbone, space_of(backbone))
    bench.run("learn")
    pretend_published(bench)
    assert bench.project.embedding_space == space_of(backbone)
    keep_weights(bench, backbone)


def clear(bench: Workbench) -> None:
    def prepare(db):
        pending_work.want(db, bench.project_id, "sync")
        item = pending_work.get_work(db, bench.project_id, "sync")
        assert item is not None
        return pending_work.next_generation(db, item)

    generation = bench.store.database.write(prepare)
    with running("sync", bench.project_id, generation) as context:
        delete_unused_backbones(context)
        bench.store.database.write(lambda db: pending_work.finish(db, context.lease))


def is_kept(bench: Workbench, backbone: str) -> bool:
    """Whether all of it is there; it fails when only some is."""
    digest = backbone.partition(":")[2]
    try:
        bench.store.artifacts.fetch_files(f"tuned/{digest}", bench.store.settings.home / "copy")
        stored = True
    except ArtifactError:
        stored = False
    here = backbone in local_finetuned(bench.store.settings)
    exports = bench.store.settings.home.glob(f"backbones/*{digest[:16]}-openvino-*")
    embedded = bench.store.embeddings.get(space_of(backbone), ["image1", "image2"])
    found = [stored, here, any(exports), len(embedded) == 2]
    assert all(found) or not (any(found) or embedded), found
    return all(found)


@pytest.fixture
def tuned_twice(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A second fine-tuned backbone has followed a first one, which is no longer recent."""
    monkeypatch.setenv("APPRENTICE_HEAD", "ridge")  # the quickest
    serve_first(workbench, 20)
    serve_tuned(workbench, FIRST, 0.5)
    serve_tuned(workbench, SECOND, 0.3)
    monkeypatch.setenv("APPRENTICE_KEEP_VERSIONS_HOURS", "0")
    return workbench


def follow(bench: Workbench) -> None:
    """One more version on the backbone that is served."""
    label(bench, 24)
    bench.run("learn")
    pretend_published(bench)


def test_what_nothing_needs_is_deleted_and_the_rest_stays(tuned_twice: Workbench) -> None:
    first = newest(tuned_twice).number - 1
    follow(tuned_twice)
    clear(tuned_twice)
    assert not is_kept(tuned_twice, FIRST)
    assert is_kept(tuned_twice, SECOND)
    assert len(tuned_twice.store.embeddings.get(SPACE, ["image1", "image2"])) == 2
    with pytest.raises(VersionError, match=r"fine-tuned backbone of apprentice v2 was deleted"):
        rollback(tuned_twice.store, tuned_twice.project, f"v{first}")
    assert tuned_twice.project.held_at is None


def test_what_a_rollback_returns_to_is_kept(tuned_twice: Workbench) -> None:
    clear(tuned_twice)
    assert is_kept(tuned_twice, FIRST)
    rollback(tuned_twice.store, tuned_twice.project)
    pretend_published(tuned_twice)
    assert tuned_twice.project.embedding_space == space_of(FIRST)
    clear(tuned_twice)
    assert is_kept(tuned_twice, FIRST)


def test_all_of_the_last_day_is_kept(
    tuned_twice: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APPRENTICE_KEEP_VERSIONS_HOURS")
    follow(tuned_twice)
    clear(tuned_twice)
    assert is_kept(tuned_twice, FIRST)


def test_nothing_goes_while_a_fine_tuning_may_make_the_same_again(tuned_twice: Workbench) -> None:
    follow(tuned_twice)
    database = tuned_twice.store.database
    database.write(lambda db: pending_work.want(db, tuned_twice.project_id, "finetune"))
    clear(tuned_twice)
    assert is_kept(tuned_twice, FIRST)
    database.write(lambda db: pending_work.cancel(db, tuned_twice.project_id, "finetune"))
    clear(tuned_twice)
    assert not is_kept(tuned_twice, FIRST)


def test_one_that_is_tuned_again_counts_as_new(tuned_twice: Workbench) -> None:
    follow(tuned_twice)
    clear(tuned_twice)
    with tuned_twice.store.database.read() as db:
        tasks = list_tasks(db, tuned_twice.project_id)
        gone = find_tuned(db, tuned_twice.project_id, FIRST)
        earlier = find_version(db, tuned_twice.project_id, 2)
    assert space_of(FIRST) not in {task.embedded_space for task in tasks}
    assert space_of(FIRST) not in {task.next_space for task in tasks}
    assert gone is not None
    assert gone.cleared_at is not None
    know(tuned_twice, FIRST)
    fill(tuned_twice, space_of(FIRST), spread=0.5)
    assert earlier is not None
    assert rollback(tuned_twice.store, tuned_twice.project, earlier.name).id == earlier.id


def test_a_copy_that_is_still_here_is_deleted_too(tuned_twice: Workbench) -> None:
    follow(tuned_twice)
    clear(tuned_twice)
    keep_weights(tuned_twice, FIRST)
    clear(tuned_twice)
    assert not is_kept(tuned_twice, FIRST)
    assert is_kept(tuned_twice, SECOND)


def test_weights_that_no_fine_tuning_ended_with_are_deleted(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_weights(workbench, FIRST)
    fill(workbench, space_of(FIRST), spread=1)
    clear(workbench)
    assert is_kept(workbench, FIRST)
    monkeypatch.setenv("APPRENTICE_KEEP_VERSIONS_HOURS", "0")
    clear(workbench)
    assert not is_kept(workbench, FIRST)
