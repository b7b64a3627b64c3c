"""embed: the right images first, each once, and a bad one harms no other."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.embedding import bulk_embedding
from store.predictions.shortlists import Choice, set_shortlist
from store.projects.projects import save_project
from store.tasks.image_problems import ImageState, image_problems
from store.tasks.tasks import Task, TaskRecord, list_tasks, save_tasks
from store.versions.versions import START
from store.work import pending_work
from tests.support.versions import plain_version
from tests.support.workbench import Workbench

pytestmark = pytest.mark.slow


def data_uri(image: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return uri_of(buffer.getvalue())


def uri_of(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def noise(seed: int, side: int = 32) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def bench(
    workbench: Workbench, backbones: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workbench]:
    """A project without tasks, and the backbone exported before."""
    (workbench.store.settings.home / "backbones").symlink_to(backbones)
    project = workbench.store.database.write(
        lambda db: save_project(db, "default", 2, 2000, label_config=workbench.project.label_config)
    )
    return Workbench(workbench.store, project.id, {})


def add(bench: Workbench, uris: dict[int, str]) -> None:
    records = [TaskRecord(task, {"image": uri}, uri, 1.0) for task, uri in uris.items()]
    bench.store.database.write(lambda db: save_tasks(db, bench.project_id, records))


def tasks(bench: Workbench) -> dict[int, Task]:
    with bench.store.database.read() as db:
        return {task.ls_id: task for task in list_tasks(db, bench.project_id)}


def test_every_kind_of_image_is_embedded_and_bad_ones_give_a_reason(bench: Workbench) -> None:
    whole = io.BytesIO()
    noise(1).save(whole, "PNG")
    good = {
        1: data_uri(noise(1)),
        2: data_uri(noise(2).convert("CMYK"), "JPEG"),
        3: data_uri(Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32))),
        4: data_uri(Image.new("RGB", (1, 1))),
        5: data_uri(noise(5).convert("P"), "GIF"),
    }
    bad = {
        11: uri_of(b"this is a text file"),
        12: uri_of(whole.getvalue()[:200]),
        13: data_uri(Image.new("1", (10_001, 10_001))),
    }
    add(bench, good | bad)
    bench.run("embed")
    known = tasks(bench)
    assert all(known[task].embedded_space for task in good)
    assert all(known[task].embedded_space is None for task in bad)
    assert all(known[task].image_error for task in bad)
    assert "pixels" in str(known[13].image_error)


def test_a_suspicious_image_is_used_and_said(bench: Workbench) -> None:
    dark = Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) % 700)
    add(bench, {1: data_uri(dark), 2: data_uri(noise(2))})
    bench.run("embed")
    assert all(task.embedded_space for task in tasks(bench).values())
    with bench.store.database.read() as db:
        [problem] = image_problems(db, bench.project_id)
    assert (problem.state, problem.tasks) == (ImageState.SUSPICIOUS, (1,))
    assert problem.example == "the picture is suspicious, with only 3 grey levels"


def test_what_is_wrong_with_images_is_counted(bench: Workbench) -> None:
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 3, (32, 32), np.uint8) * 2 + 9)
    add(
        bench,
        {
            1: data_uri(noise(1)),
            2: data_uri(grey),
            3: uri_of(b"<html>"),
            4: uri_of(b"<html><body>"),
            5: "http://localhost:1/a.png",
        },
    )
    bench.run("embed")
    with bench.store.database.read() as db:
        problems = image_problems(db, bench.project_id)
    assert {(each.state, each.tasks) for each in problems} >= {
        ("suspicious", (2,)),
        ("unusable", (3, 4)),
    }
    assert sum(each.images for each in problems) == 4


def test_images_are_embedded_even_where_opening_the_backbone_takes_all_the_time(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.embedding.project_embedding.TIME_BOX", 0.0)
    add(bench, {1: data_uri(noise(1))})
    bench.run("embed")
    assert tasks(bench)[1].embedded_space


def test_the_same_bytes_are_embedded_once(bench: Workbench) -> None:
    same = data_uri(noise(1))
    add(bench, {1: same, 2: same, 3: data_uri(noise(3))})
    bench.run("embed")
    known = tasks(bench)
    assert known[1].image_key == known[2].image_key != known[3].image_key
    found = bench.store.embeddings.get(
        str(known[1].embedded_space), [str(task.image_key) for task in known.values()]
    )
    assert len(found) == 2
    assert all(np.isfinite(vector).all() and vector.any() for vector in found.values())


def test_labels_and_the_shortlist_go_first_also_while_it_runs(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_embedding, "ROUND", 8)
    monkeypatch.setattr(bulk_embedding, "FLUSH", 8)
    add(bench, {task: data_uri(noise(task)) for task in range(1, 81)})
    bench.annotate({70: "cat"})

    def choose(db):
        version = plain_version(
            db, bench.project_id, kind=START, status="served", embedding_space="", labels=0
        )
        set_shortlist(db, bench.project_id, version.id, [Choice(60, "kmeans", None)])

    bench.store.database.write(choose)
    order: list[int] = []
    load = bulk_embedding.BulkEmbedding._load

    def watched(self, task):
        order.append(task.ls_id)
        if len(order) == 20:
            bench.annotate({50 if 50 not in order else 51: "dog"})
        return load(self, task)

    monkeypatch.setattr(bulk_embedding.BulkEmbedding, "_load", watched)
    bench.run("embed")
    assert {order.index(70), order.index(60)} <= set(range(8))
    late = 50 if order.index(50) > 19 else 51
    assert order.index(late) < 60, "a label that came meanwhile overtook the rest"
    assert len(order) == 80


def test_an_image_that_cannot_be_reached_is_tried_again(bench: Workbench) -> None:
    add(bench, {1: "/data/upload/1/x.png", 2: data_uri(noise(2))})  # nothing listens there
    bench.run("embed")
    known = tasks(bench)
    assert known[1].image_error is None
    assert known[1].retries == 1
    assert known[2].embedded_space
    with bench.store.database.read() as db:
        item = pending_work.get_work(db, bench.project_id, "embed")
    assert item is not None
    assert item.wanted > item.done, "it stays wanted"
    assert item.not_before > 0
