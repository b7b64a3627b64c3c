"""Tasks: what is embedded first, what is tried again, and what is given up."""

import time

from services.learning.start_version import start_version
from store.predictions.deletions import delete_tasks
from store.predictions.shortlists import Choice, set_shortlist
from store.projects.projects import Project, find_project, save_project
from store.store import Store
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.embedding_queue import mark_retry, next_retry, tasks_to_embed
from store.tasks.tasks import (
    TaskRecord,
    count_tasks,
    get_tasks,
    list_tasks,
    mark_broken,
    mark_embedded,
    save_tasks,
    task_data,
    task_ids,
)
from store.tasks.units import unit_of


def add(store: Store, project: Project, ids: range, *, uri: str = "/data/{}.jpg") -> int:
    records = [TaskRecord(i, {"image": uri.format(i)}, uri.format(i), 1.0) for i in ids]
    return store.database.write(lambda db: save_tasks(db, project.id, records))


def to_embed(store: Store, project: Project, limit: int = 100) -> list[int]:
    with store.database.read() as db:
        return [task.ls_id for task in tasks_to_embed(db, project.id, "space", limit)]


def test_labelled_images_come_first_then_the_shortlist(store: Store, project: Project) -> None:
    add(store, project, range(1, 101))

    def write(db):
        save_annotations(db, project.id, [AnnotationRecord(1, 90, 1.0, 1.0, [])])
        version = start_version(db, project.id, "space")
        set_shortlist(db, project.id, version.id, [Choice(80, "margin", None)])

    store.database.write(write)
    assert to_embed(store, project)[:2] == [90, 80]


def test_the_rest_comes_in_mixed_order(store: Store, project: Project) -> None:
    add(store, project, range(1, 1001))
    first = to_embed(store, project, 50)
    assert max(first) - min(first) > 500


def test_a_changed_image_is_embedded_again(store: Store, project: Project) -> None:
    add(store, project, range(1, 3))
    store.database.write(lambda db: mark_embedded(db, project.id, "space", {1: "k1", 2: "k2"}))
    assert to_embed(store, project) == []
    assert add(store, project, range(1, 2), uri="/data/new-{}.jpg") == 1
    assert to_embed(store, project) == [1]
    with store.database.read() as db:
        assert get_tasks(db, project.id, [1])[1].image_key is None


def test_a_broken_image_is_given_up_and_a_passing_fault_is_not(
    store: Store, project: Project
) -> None:
    add(store, project, range(1, 4))

    def write(db):
        mark_broken(db, project.id, {1: "not an image"})
        mark_retry(db, project.id, [get_tasks(db, project.id, [2])[2]])

    store.database.write(write)
    assert to_embed(store, project) == [3]
    with store.database.read() as db:
        due = next_retry(db, project.id)
        assert due is not None
        assert due > time.time()
        assert count_tasks(db, project.id, "space").broken == 1


def test_an_id_used_again_is_another_project(store: Store, project: Project) -> None:
    newer = store.database.write(lambda db: save_project(db, "default", 7, 2000, title="Dogs"))
    assert newer.id != project.id
    with store.database.read() as db:
        found = find_project(db, "default", 7)
        old = find_project(db, "default", 7, 1000)
    assert found is not None
    assert found.id == newer.id
    assert old is not None
    assert old.gone_at is not None


def save(store: Store, project: Project, *uris: str | None, data: dict | None = None) -> int:
    """Task 7 with these images."""
    record = TaskRecord(7, data or {"images": list(uris)}, uris[0], 1.0, uris[1:])
    return store.database.write(lambda db: save_tasks(db, project.id, [record]))


def images(store: Store, project: Project) -> list[tuple[int, str | None, str | None]]:
    with store.database.read() as db:
        listed = list_tasks(db, project.id)
    return [(image.item, image.uri, image.image_key) for image in listed]


def test_each_image_of_a_task_has_its_own_row(store: Store, project: Project) -> None:
    assert save(store, project, "/a", "/b", None) == 3
    units = [unit_of(7, item) for item in range(3)]
    assert units[0] == 7
    keys = {units[0]: "ka", units[1]: "kb"}
    store.database.write(lambda db: mark_embedded(db, project.id, "space", keys))
    assert images(store, project) == [(0, "/a", "ka"), (1, "/b", "kb"), (2, None, None)]
    store.database.write(lambda db: mark_broken(db, project.id, {units[1]: "not an image"}))
    with store.database.read() as db:
        known = get_tasks(db, project.id, [7])
        assert list(known) == units
        assert [known[unit].image_error for unit in units] == [None, "not an image", None]
        assert task_ids(db, project.id) == {7}
        assert task_data(db, project.id, [7]) == {7: {"images": ["/a", "/b", None]}}
        counts = count_tasks(db, project.id, "space")
    assert (counts.tasks, counts.images, counts.embedded, counts.broken) == (1, 3, 2, 2)


def test_a_list_that_grows_shrinks_and_grows_again(store: Store, project: Project) -> None:
    save(store, project, "/a", "/b")
    keys = {unit_of(7, item): f"k{item}" for item in range(2)}
    store.database.write(lambda db: mark_embedded(db, project.id, "space", keys))
    assert save(store, project, "/a", "/b") == 0
    assert save(store, project, "/a", "/b", "/c") == 1
    assert images(store, project) == [(0, "/a", "k0"), (1, "/b", "k1"), (2, "/c", None)]
    assert save(store, project, "/a") == 2
    assert images(store, project) == [(0, "/a", "k0")]
    assert save(store, project, "/a", "/b") == 1
    assert images(store, project) == [(0, "/a", "k0"), (1, "/b", None)]
    assert save(store, project, "/b", "/a") == 2  # another order
    assert images(store, project) == [(0, "/b", None), (1, "/a", None)]
    store.database.write(lambda db: delete_tasks(db, project.id, [7]))
    assert images(store, project) == []


def test_a_passing_fault_of_one_image_puts_off_that_one(store: Store, project: Project) -> None:
    save(store, project, "/a", "/b")
    with store.database.read() as db:
        known = get_tasks(db, project.id, [7])
    store.database.write(lambda db: mark_retry(db, project.id, [known[unit_of(7, 1)]]))
    with store.database.read() as db:
        assert [image.item for image in tasks_to_embed(db, project.id, "space", 9)] == [0]
