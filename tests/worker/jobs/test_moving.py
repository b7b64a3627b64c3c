"""embed and learn together: a project's images go to another backbone while it goes on."""

import numpy as np
import pytest
from PIL import Image

import tests.support.small_backbones  # noqa: F401
from services.versions.training_requests import change_backbone
from store.projects.projects import save_project
from store.tasks.tasks import Task, TaskRecord, list_tasks, save_tasks
from store.work import pending_work
from studio.images.loader import ImageLoader
from tests.support.workbench import CLASSES, Workbench, label_config, use_small_backbone
from tests.worker.jobs.test_embed import data_uri

pytestmark = pytest.mark.slow


def striped(task: int, *, count: int = len(CLASSES)) -> Image.Image:
    """Stripes of any colour, whose width is the class of the task."""
    rng = np.random.default_rng(task)
    width = 2 << (task % count)
    stripes = (np.arange(32) // width % 2)[:, None, None]
    colours = rng.integers(0, 200, (2, 1, 1, 3))
    pixels = np.where(stripes, *colours) + rng.integers(0, 50, (32, 32, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def add(bench: Workbench, tasks: range) -> None:
    records = []
    for task in tasks:
        uri = data_uri(striped(task))
        records.append(TaskRecord(task, {"image": uri}, uri, 1.0))
        bench.truth[task] = CLASSES[task % 3]
    bench.store.database.write(lambda db: save_tasks(db, bench.project_id, records))


@pytest.fixture
def bench(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A project of 60 images on the backbone `small:a`, which PyTorch runs."""
    use_small_backbone(workbench, monkeypatch)
    project = workbench.store.database.write(
        lambda db: save_project(db, "default", 3, 3000, label_config=label_config())
    )
    made = Workbench(workbench.store, project.id, {})
    add(made, range(1, 61))
    made.run("embed")
    return made


def tasks(bench: Workbench) -> dict[int, Task]:
    with bench.store.database.read() as db:
        return {task.ls_id: task for task in list_tasks(db, bench.project_id)}


def wish(bench: Workbench, backbone: str | None) -> None:
    bench.store.database.write(lambda db: change_backbone(db, bench.project_id, backbone))


def wanted(bench: Workbench, kind: str) -> bool:
    with bench.store.database.read() as db:
        item = pending_work.get_work(db, bench.project_id, kind)
    return item is not None and item.wanted > item.done


def test_a_project_moves_to_another_backbone_once_all_its_images_are_there(
    bench: Workbench,
) -> None:
    bench.annotate({task: name for task, name in bench.truth.items() if task <= 30})
    bench.run("learn")
    wish(bench, "small:b")
    assert wanted(bench, "embed")
    bench.run("embed")
    assert bench.project.embedding_space == "small:a@float32", "not before learn has agreed"
    assert {task.next_space for task in tasks(bench).values()} == {"small:b@float32"}
    assert wanted(bench, "learn")
    bench.run("learn")
    assert bench.project.embedding_space == "small:b@float32"
    assert bench.project.base_backbone == "small:b"
    assert {task.embedded_space for task in tasks(bench).values()} == {"small:b@float32"}


def test_what_comes_meanwhile_is_embedded_in_both(bench: Workbench) -> None:
    wish(bench, "small:b")
    bench.run("embed")
    add(bench, range(61, 64))
    bench.run("embed")
    known = tasks(bench)[62]
    assert (known.embedded_space, known.next_space) == ("small:a@float32", "small:b@float32")


def test_back_again_no_image_is_loaded_a_second_time(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(bench, "small:b")
    bench.run("embed")
    bench.run("learn")
    assert bench.project.embedding_space == "small:b@float32"
    loaded: list[str] = []
    fetch = ImageLoader.fetch

    def watched(self, uri, task):
        loaded.append(uri)
        return fetch(self, uri, task)

    monkeypatch.setattr(ImageLoader, "fetch", watched)
    wish(bench, None)
    bench.run("embed")
    bench.run("learn")
    assert bench.project.embedding_space == "small:a@float32"
    assert loaded == []


def test_a_backbone_that_cannot_be_opened_gives_a_reason_and_stops_nothing(
    bench: Workbench,
) -> None:
    wish(bench, "small:c")
    add(bench, range(61, 64))
    bench.run("embed")
    assert "small:c" in str(bench.project.next_error)
    assert tasks(bench)[62].embedded_space == "small:a@float32"
    assert not wanted(bench, "embed"), "it isn't tried again at once"
    wish(bench, None)
    bench.run("embed")
    assert bench.project.next_backbone is None
    assert bench.project.next_error is None


def test_another_default_moves_the_projects_without_one_of_their_own(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_BACKBONE", "small:b")
    bench.run("embed")
    assert bench.project.next_space == "small:b@float32"
    monkeypatch.setenv("APPRENTICE_BACKBONE", "small:a")
    bench.run("embed")
    assert bench.project.next_backbone is None, "given up: the default is what it was"
