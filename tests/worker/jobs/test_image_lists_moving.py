"""Tasks with several images on real backbones: embedded, moved to another one, and fine-tuned."""

import pytest

import tests.support.small_backbones  # noqa: F401
from model.finetuning import CannotFinetuneError
from services.finetuning.plan import make_plan
from services.snapshot import take_snapshot
from services.training.finetuned_features import labelled_set
from services.versions.rollback import rollback
from store.projects.projects import save_project
from store.tasks.tasks import Task, TaskRecord, list_tasks, save_tasks
from store.tasks.units import item_of, unit_of
from store.versions.finetuned_backbones import list_uncleared
from store.versions.versions import FINETUNE, newest_version
from tests.support.workbench import CLASSES, Workbench, region, use_small_backbone
from tests.worker.jobs.test_embed import data_uri
from tests.worker.jobs.test_learn import pretend_published
from tests.worker.jobs.test_moving import striped, wish

pytestmark = pytest.mark.slow

TASKS, IMAGES = 30, 2
OPTIONS = "".join(f'<Choice value="{name}"/>' for name in CLASSES)
EACH = f'<Choices name="kind" toName="image" perItem="true">{OPTIONS}</Choices>'
ALL = f'<Choices name="first" toName="image">{OPTIONS}</Choices>'
CONFIG = f'<View><Image name="image" valueList="$images"/>{EACH}{ALL}</View>'


def kind(task: int, item: int) -> str:
    return CLASSES[(task + item) % 3]


def images(bench: Workbench) -> list[Task]:
    with bench.store.database.read() as db:
        return list_tasks(db, bench.project_id)


def label(bench: Workbench, tasks: range) -> None:
    bench.submit(
        {
            task: [
                *(
                    region("kind", "choices", [kind(task, item)]) | {"item_index": item}
                    for item in range(IMAGES)
                ),
                region("first", "choices", [kind(task, 0)]),
            ]
            for task in tasks
        }
    )


@pytest.fixture
def bench(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A project on the backbone `small:a`; the last task has a broken image too."""
    use_small_backbone(workbench, monkeypatch)
    project = workbench.store.database.write(
        lambda db: save_project(db, "default", 3, 3000, label_config=CONFIG)
    )
    records = []
    for task in range(1, TASKS + 1):
        # The class of a striped image is that of its number.
        uris = [data_uri(striped(300 * item + task + item)) for item in range(IMAGES)]
        uris += ["data:image/png;base64,AAAA"] * (task == TASKS)
        records.append(TaskRecord(task, {"images": uris}, uris[0], 1.0, tuple(uris[1:])))
    workbench.store.database.write(lambda db: save_tasks(db, project.id, records))
    made = Workbench(workbench.store, project.id, {})
    made.run("embed")
    return made


def test_each_image_is_embedded_and_a_broken_one_given_up(bench: Workbench) -> None:
    known = images(bench)
    assert len(known) == TASKS * IMAGES + 1
    assert {image.embedded_space for image in known[:-1]} == {"small:a@float32"}
    assert known[-1].image_error
    assert len({image.image_key for image in known[:-1]}) == TASKS * IMAGES


def test_all_images_move_together_and_back(bench: Workbench) -> None:
    label(bench, range(1, 21))
    bench.run("learn")
    pretend_published(bench)
    wish(bench, "small:b")
    bench.run("embed")
    assert {image.next_space for image in images(bench)[:-1]} == {"small:b@float32"}
    bench.run("learn")
    assert bench.project.embedding_space == "small:b@float32"
    assert {image.embedded_space for image in images(bench)[:-1]} == {"small:b@float32"}
    pretend_published(bench)
    rollback(bench.store, bench.project, "v1")
    assert bench.project.embedding_space == "small:a@float32"
    assert {image.embedded_space for image in images(bench)[:-1]} == {"small:a@float32"}


def test_a_backbone_is_tuned_on_the_labels_of_single_images(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.finetuning.run.MOST_EPOCHS", 4)
    label(bench, range(1, 26))
    bench.run("learn")
    pretend_published(bench)
    bench.run("finetune")
    bench.run("embed")
    bench.run("learn")
    with bench.store.database.read() as db:
        (tuned,) = list_uncleared(db, bench.project_id)
        version = newest_version(db, bench.project_id)
    assert tuned.training_tasks | tuned.validation_tasks == set(range(1, 26))
    assert not tuned.training_tasks & tuned.validation_tasks
    assert version is not None
    assert version.kind == FINETUNE
    assert set(version.metrics["controls"]) == {"kind", "first"}
    # Measured on the tasks that only said when it was good: each with both images, and as a whole.
    assert version.metrics["accuracy"]["n"] == (IMAGES + 1) * len(tuned.validation_tasks)


def test_what_a_tuning_learns_from(bench: Workbench) -> None:
    label(bench, range(1, 26))
    now = take_snapshot(bench.store, bench.project_id)
    data, _ = labelled_set(bench.store, now)
    known = {image.unit: image for image in now.images}
    plan = make_plan(data, known, now.config, backbone="small:a", asked_at=0.0, seed=0)
    assert [target.name for target in plan.targets] == ["kind"]
    units = [unit_of(task, item) for task in range(1, 26) for item in range(IMAGES)]
    assert [item.uri for item in plan.items] == [known[unit].uri for unit in units]
    assert {item_of(unit) for unit in data.tasks.tolist()} == {-1, 0, 1}

    together = now.config.at(whole=True)
    with pytest.raises(CannotFinetuneError, match="first: a backbone is tuned on labels of single"):
        make_plan(data, known, together, backbone="small:a", asked_at=0.0, seed=0)
