"""What is wrong with images is counted by kind, and vanishes once it is mended."""

from __future__ import annotations

import pytest

from store.projects.projects import Project
from store.store import Store
from store.tasks.embedding_queue import mark_retry
from store.tasks.image_problems import (
    ImageProblem,
    ImageState,
    any_usable_image,
    image_problems,
    problem_kind,
)
from store.tasks.labelled import set_labelled
from store.tasks.tasks import (
    TaskRecord,
    get_tasks,
    mark_broken,
    mark_embedded,
    mark_suspicious,
    save_tasks,
)

MISSING, UNUSABLE, WAITING, SUSPICIOUS = (
    ImageState.MISSING,
    ImageState.UNUSABLE,
    ImageState.WAITING,
    ImageState.SUSPICIOUS,
)


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        (["Label Studio answers 404 for the image"], "Label Studio answers 404 for the image"),
        (["Label Studio answers 401 for the image: it does not accept our token"], None),
        (
            [
                "too many pixels: 12000 × 11000 = 132 million; 64 million are allowed",
                "too many pixels: 9000 × 9000 = 81 million; 64 million are allowed",
            ],
            "too many pixels",
        ),
        (
            ["images.example answers 404 for the image", "10.0.0.7:81 answers 404 for the image"],
            "a server answers 404 for the image",
        ),
        (["a.example can't be reached: no route", "minio can't be reached: x"], None),
        (["s3 is slow: images of other hosts go first"], "a server is slow"),
        (["Label Studio did not answer in time"], "Label Studio did not answer in time"),
        (["'/x/1.jpg' is no address of an image", "'b: c' is no address of an image"], None),
        (["javascript: is not fetched for images"], "javascript: is not fetched for images"),
        (["a data: URI without a comma"], "a data: URI without a comma"),
        (["a data: URI with broken base64: x", "a data: URI with broken base64: y"], None),
        (
            [
                "h.example is at 10.0.0.1, which is not a public address: it can be allowed",
                "minio is at fd00::3, 10.0.0.9, which is not a public address: it can be allowed",
            ],
            "a server is at …, which is not a public address",
        ),
        (["the image took more than 15 s to come", "the image took more than 3 s to come"], None),
    ],
)
def test_messages_of_one_kind_are_counted_together(messages: list[str], kind: str | None) -> None:
    kinds = set(map(problem_kind, messages))
    assert len(kinds) == 1
    assert kind is None or kinds == {kind}
    assert all(problem_kind(each) == each for each in kinds), "a kind is of its own kind"


def test_a_status_is_a_kind_and_texts_that_say_nothing_stay() -> None:
    assert problem_kind("h.example answers 404") != problem_kind("h.example answers 410")
    assert problem_kind(": what") == ": what"
    assert len(problem_kind("x" * 1000)) < 200


@pytest.fixture
def tasks(store: Store, project: Project) -> Store:
    records = [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0) for task in range(1, 9)]
    records.append(TaskRecord(9, {}, None, 1.0))
    store.database.write(lambda db: save_tasks(db, project.id, records))
    return store


def problems(store: Store, project: Project) -> list[ImageProblem]:
    with store.database.read() as db:
        return image_problems(db, project.id)


def test_problems_are_counted_with_their_first_tasks(tasks: Store, project: Project) -> None:
    gone = "Label Studio answers 404 for the image"

    def write(db) -> None:
        mark_broken(db, project.id, dict.fromkeys((5, 2, 3, 4), gone))
        mark_broken(db, project.id, {1: "too many pixels: 9 × 9"})
        waiting = get_tasks(db, project.id, [6])[6]
        mark_retry(db, project.id, [waiting], {6: "h.example did not answer in time"})
        mark_embedded(db, project.id, "space", {7: "k7", 8: "k8"})
        mark_suspicious(db, project.id, {7: "suspicious: only 3 grey levels"})

    tasks.database.write(write)
    assert problems(tasks, project) == [
        ImageProblem(UNUSABLE, gone, 4, (2, 3, 4), gone),
        ImageProblem(MISSING, "", 1, (9,), ""),
        ImageProblem(SUSPICIOUS, "suspicious", 1, (7,), "suspicious: only 3 grey levels"),
        ImageProblem(UNUSABLE, "too many pixels", 1, (1,), "too many pixels: 9 × 9"),
        ImageProblem(
            WAITING, "a server did not answer in time", 1, (6,), "h.example did not answer in time"
        ),
    ]


def test_what_is_mended_is_no_problem_any_more(tasks: Store, project: Project) -> None:
    def breaks(db) -> None:
        mark_broken(db, project.id, {1: "it is empty", 2: "it is empty"})
        waiting = get_tasks(db, project.id, [6])[6]
        mark_retry(db, project.id, [waiting], {6: "no answer"})
        mark_suspicious(db, project.id, {7: "suspicious: grey"})

    def mends(db) -> None:
        mark_embedded(db, project.id, "space", {6: "k6", 7: "k7"})
        shown = [TaskRecord(1, {"image": "/new"}, "/new", 2.0), TaskRecord(9, {}, "/9", 2.0)]
        save_tasks(db, project.id, shown)

    tasks.database.write(breaks)
    assert sum(each.images for each in problems(tasks, project)) == 5
    tasks.database.write(mends)
    assert [each.tasks for each in problems(tasks, project)] == [(2,)]


def test_whether_any_image_can_be_used(tasks: Store, project: Project) -> None:
    def usable(*, labelled: bool) -> bool:
        with tasks.database.read() as db:
            return any_usable_image(db, project.id, labelled=labelled)

    assert usable(labelled=False)
    assert not usable(labelled=True)

    def label(db) -> None:
        set_labelled(db, project.id, [1, 2], [])
        mark_broken(db, project.id, {1: "gone"})

    tasks.database.write(label)
    assert usable(labelled=True)
    tasks.database.write(lambda db: mark_broken(db, project.id, {2: "gone"}))
    assert not usable(labelled=True)
    assert usable(labelled=False)
