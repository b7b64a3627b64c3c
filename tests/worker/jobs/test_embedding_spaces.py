"""learn while a project moves to another backbone's space: served in one, then in the other."""

import numpy as np
import pytest
from sqlalchemy import update

from services.finetuning.policy import Attempt, may_pay, save_attempt
from services.snapshot import take_snapshot
from services.training.finetuned_features import measurable
from services.training.training_set import training_set
from store.database.schema import task
from store.projects.embedding_spaces import begin_move
from store.projects.projects import change_project
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import list_tasks, mark_embedded
from store.versions.finetuned_backbones import FinetunedBackbone, add_tuned
from store.versions.versions import FINETUNE, HEAD, REFUSED, Version, list_versions
from store.work import pending_work
from tests.support.workbench import CLASSES, SPACE, Workbench
from tests.worker.jobs.test_learn import label, pretend_published

OTHER = "test:other@float32"
TUNED = "tuned:" + "ab" * 32
TUNED_SPACE = TUNED + "@float32"


def fill(bench: Workbench, space: str, *, spread: float, tasks: set[int] | None = None) -> None:
    """Embeddings in another space: the larger the spread, the less the classes are apart."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(3, 16)) * 2
    filled = tasks or set(bench.truth)
    vectors = {
        f"image{task}": (centres[CLASSES.index(name)] + spread * rng.normal(size=16)).astype(
            np.float16
        )
        for task, name in bench.truth.items()
    }
    bench.store.embeddings.put(space, {key: vectors[key] for key in vectors})
    keys = {task: f"image{task}" for task in filled}
    bench.store.database.write(
        lambda db: mark_embedded(db, bench.project_id, space, keys, SpaceRole.NEXT)
    )


def move(bench: Workbench, backbone: str, space: str) -> None:
    bench.store.database.write(lambda db: begin_move(db, bench.project_id, backbone, space))


def newest(bench: Workbench) -> Version:
    with bench.store.database.read() as db:
        return list_versions(db, bench.project_id)[0]


def spaces(bench: Workbench) -> set[str | None]:
    with bench.store.database.read() as db:
        return {task.embedded_space for task in list_tasks(db, bench.project_id)}


def serve_first(bench: Workbench, each: int = 10) -> None:
    label(bench, each)
    bench.run("learn")
    pretend_published(bench)


def know_tuned(bench: Workbench, seen: set[int], held: set[int]) -> None:
    bench.store.database.write(
        lambda db: add_tuned(
            db,
            bench.project_id,
            digest=TUNED.partition(":")[2],
            base_backbone="test:tiny",
            labels=len(seen | held),
            training_tasks=seen,
            validation_tasks=held,
            report={"method": "full"},
        )
    )


def test_until_all_is_there_it_is_learned_in_the_space_in_use(workbench: Workbench) -> None:
    serve_first(workbench)
    fill(workbench, OTHER, spread=1, tasks=set(list(workbench.truth)[:200]))
    move(workbench, "test:other", OTHER)
    label(workbench, 11)
    workbench.run("learn")
    assert newest(workbench).embedding_space == SPACE
    assert workbench.project.next_backbone == "test:other"


def test_once_all_is_there_version_project_and_tasks_move_together(workbench: Workbench) -> None:
    serve_first(workbench)
    fill(workbench, OTHER, spread=1)
    move(workbench, "test:other", OTHER)
    workbench.run("learn")
    version, project = newest(workbench), workbench.project
    assert (version.embedding_space, version.kind) == (OTHER, HEAD)
    assert (project.embedding_space, project.base_backbone) == (OTHER, "test:other")
    assert (project.next_backbone, project.next_space) == (None, None)
    assert spaces(workbench) == {OTHER}
    assert "changed to test:other" in version.verdict


def test_a_backbone_that_a_person_wants_is_taken_even_if_it_is_worse(workbench: Workbench) -> None:
    serve_first(workbench, 20)
    fill(workbench, OTHER, spread=30)
    move(workbench, "test:other", OTHER)
    workbench.run("learn")
    version = newest(workbench)
    assert version.status != REFUSED
    assert version.metrics["accuracy"]["value"] < 0.8
    assert "the served version on" in version.verdict, "people are told what it costs"


def test_a_fine_tuned_backbone_is_measured_on_labels_that_it_has_not_seen(
    workbench: Workbench,
) -> None:
    serve_first(workbench, 20)
    labelled = {task for name in CLASSES for task in workbench.tasks_of(name, 20)}
    held = set(sorted(labelled)[:12])
    know_tuned(workbench, labelled - held, held)
    fill(workbench, TUNED_SPACE, spread=0.5)
    move(workbench, TUNED, TUNED_SPACE)
    workbench.run("learn")
    version, project = newest(workbench), workbench.project
    assert version.kind == FINETUNE
    assert version.metrics["accuracy"]["n"] == len(held)
    assert version.metrics["finetune"] == {"method": "full"}
    assert project.embedding_space == TUNED_SPACE
    assert project.base_backbone == "test:tiny", "it still stems from the pretrained one"


def test_heads_on_a_fine_tuned_backbone_go_on_being_measured_so(workbench: Workbench) -> None:
    test_a_fine_tuned_backbone_is_measured_on_labels_that_it_has_not_seen(workbench)
    pretend_published(workbench)
    label(workbench, 24)
    workbench.run("learn")
    version = newest(workbench)
    assert (version.kind, version.embedding_space) == (HEAD, TUNED_SPACE)
    assert version.metrics["accuracy"]["n"] == 12


def test_a_worse_fine_tuned_backbone_is_refused_and_the_project_stays(
    workbench: Workbench,
) -> None:
    serve_first(workbench, 40)
    before = newest(workbench)
    labelled = {task for name in CLASSES for task in workbench.tasks_of(name, 40)}
    held = set(sorted(labelled)[:60])
    know_tuned(workbench, labelled - held, held)
    fill(workbench, TUNED_SPACE, spread=30)
    move(workbench, TUNED, TUNED_SPACE)
    workbench.run("learn")
    version, project = newest(workbench), workbench.project
    assert (version.status, version.kind) == (REFUSED, FINETUNE)
    assert version.embedding_space == TUNED_SPACE
    assert (project.embedding_space, project.next_backbone) == (SPACE, None)
    assert spaces(workbench) == {SPACE}
    workbench.run("learn")
    assert newest(workbench).id == version.id, "the same labels teach nothing new"
    assert project.served_version_id == before.id


def test_the_pretrained_features_are_found_where_the_name_does_not_tell_the_weights(
    workbench: Workbench,
) -> None:
    """As of a backbone in a file: its space has the weights' digest."""
    file = "file:/weights?model=timm:resnet18"
    with_digest = f"{file}#0123456789ab@float32"
    vectors = workbench.store.embeddings.get(SPACE, [f"image{task}" for task in workbench.truth])
    workbench.store.embeddings.put(with_digest, vectors)

    def give(db):
        change_project(db, workbench.project_id, embedding_space=with_digest, base_backbone=file)
        keys = {task: f"image{task}" for task in workbench.truth}
        mark_embedded(db, workbench.project_id, with_digest, keys)

    workbench.store.database.write(give)
    serve_first(workbench)
    fill(workbench, TUNED_SPACE, spread=0.1)
    tuned = FinetunedBackbone(
        1, workbench.project_id, "ab" * 32, file, 30, frozenset(), frozenset(), {}, 0.0, None, None
    )
    now = take_snapshot(workbench.store, workbench.project_id).moved(TUNED_SPACE)
    data = measurable(workbench.store, training_set(workbench.store, now), tuned)
    assert data.pretrained is not None
    np.testing.assert_array_equal(data.pretrained[0], vectors[data.image_keys[0]])


def test_what_is_like_an_image_that_the_backbone_has_seen_is_not_held_out(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.training.holdout.HOLDOUT_FROM", 60)
    seen, twins, strangers = set(range(1, 61)), set(range(61, 121)), set(range(121, 151))
    keys = {task: f"twin{task - 60}" if task in twins else f"image{task}" for task in range(1, 151)}
    known = workbench.store.embeddings.get(SPACE, [f"image{task}" for task in seen])
    noise = np.random.default_rng(0).normal(size=32) / 1000
    twin_vectors = {
        keys[task]: (known[f"image{task - 60}"] + noise).astype(np.float16) for task in twins
    }
    workbench.store.embeddings.put(SPACE, twin_vectors)
    rng = np.random.default_rng(1)
    vectors = {key: rng.normal(size=16).astype(np.float16) for key in keys.values()}
    workbench.store.embeddings.put(TUNED_SPACE, vectors)

    def move_there(db):
        change_project(
            db, workbench.project_id, embedding_space=TUNED_SPACE, base_backbone="test:tiny"
        )
        mark_embedded(db, workbench.project_id, TUNED_SPACE, keys)

    workbench.store.database.write(move_there)
    know_tuned(workbench, seen, set())
    workbench.annotate({task: workbench.truth[task] for task in keys}, ground_truth=True)
    workbench.run("learn")
    with workbench.store.database.read() as db:
        held = {task.ls_id for task in list_tasks(db, workbench.project_id) if task.split}
        wanted = pending_work.get_work(db, workbench.project_id, "embed")
    assert held == strangers
    assert wanted is not None
    assert wanted.wanted > wanted.done, "what is to be labelled gets pretrained features too"


def test_a_move_waits_while_a_person_holds_a_version(workbench: Workbench) -> None:
    serve_first(workbench)
    fill(workbench, OTHER, spread=1)
    move(workbench, "test:other", OTHER)
    workbench.store.database.write(lambda db: change_project(db, workbench.project_id, held_at=1.0))
    workbench.run("learn")
    assert workbench.project.embedding_space == SPACE


@pytest.mark.parametrize(
    ("labels", "accuracy", "last", "pays"),
    [
        (99, 0.5, None, False),
        (100, 0.5, None, True),
        (100, 0.96, None, True),
        (1000, 0.98, None, False),
        (280, 0.5, Attempt(200, "b", ""), False),
        (300, 0.5, Attempt(200, "b", ""), True),
        (280, 0.5, Attempt(200, "another", ""), True),
    ],
)
def test_fine_tuning_pays_when_there_is_enough_new_and_something_to_gain(
    labels: int, accuracy: float, last: Attempt | None, pays: bool
) -> None:
    assert may_pay(labels, accuracy, "b", last) is pays


def wants_finetuning(bench: Workbench) -> bool:
    with bench.store.database.read() as db:
        known = pending_work.get_work(db, bench.project_id, "finetune")
    return known is not None and known.wanted > known.done


def test_fine_tuning_starts_by_itself_when_it_may_pay(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.finetuning.policy.LEAST_LABELS", 60)
    monkeypatch.setattr("services.finetuning.policy.GOOD_ENOUGH", 1.01)
    label(workbench, 15)
    workbench.run("learn")
    assert not wants_finetuning(workbench)
    label(workbench, 20)
    workbench.run("learn")
    assert wants_finetuning(workbench)


def test_it_does_not_start_while_many_labelled_images_are_to_be_read(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after connecting a project that has many labels already."""
    monkeypatch.setattr("services.finetuning.policy.LEAST_LABELS", 60)
    monkeypatch.setattr("services.finetuning.policy.GOOD_ENOUGH", 1.01)
    label(workbench, 25)
    unread = update(task).where(task.c.ls_id <= 20).values(embedded_space=None)
    workbench.store.database.write(lambda db: db.execute(unread))
    workbench.run("learn")
    assert not wants_finetuning(workbench)


def test_it_does_not_start_by_itself_again_before_the_labels_have_grown_by_half(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.finetuning.policy.LEAST_LABELS", 60)
    monkeypatch.setattr("services.finetuning.policy.GOOD_ENOUGH", 1.01)
    tried = Attempt(60, "test:tiny", "refused")
    workbench.store.database.write(lambda db: save_attempt(db, workbench.project_id, tried))
    label(workbench, 25)
    workbench.run("learn")
    assert not wants_finetuning(workbench)
    label(workbench, 30)
    workbench.run("learn")
    assert wants_finetuning(workbench)


def test_it_never_starts_by_itself_when_that_is_not_wanted(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.finetuning.policy.LEAST_LABELS", 60)
    monkeypatch.setattr("services.finetuning.policy.GOOD_ENOUGH", 1.01)
    monkeypatch.setenv("APPRENTICE_FINETUNE", "manual")
    label(workbench, 25)
    workbench.run("learn")
    assert not wants_finetuning(workbench)
