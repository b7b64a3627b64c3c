"""Tasks that were deleted in Label Studio, and what was stored of them."""

from services.learning.start_version import start_version
from store.predictions.auto_accepts import WANTED, Acceptance, add_acceptances, list_acceptances
from store.predictions.deletions import delete_tasks
from store.predictions.shortlists import RANDOM, Choice, drawn_tasks, set_shortlist
from store.projects.projects import Project
from store.store import Store
from store.tasks.annotations import AnnotationRecord, annotated_tasks, save_annotations
from store.tasks.embedding_queue import tasks_to_embed
from store.tasks.tasks import TaskRecord, save_tasks


def add(store: Store, project: Project, ids: range, *, uri: str = "/data/{}.jpg") -> int:
    records = [TaskRecord(i, {"image": uri.format(i)}, uri.format(i), 1.0) for i in ids]
    return store.database.write(lambda db: save_tasks(db, project.id, records))


def to_embed(store: Store, project: Project, limit: int = 100) -> list[int]:
    with store.database.read() as db:
        return [task.ls_id for task in tasks_to_embed(db, project.id, "space", limit)]


def test_a_deleted_task_is_no_longer_there(store: Store, project: Project) -> None:
    add(store, project, range(1, 4))
    assert store.database.write(lambda db: delete_tasks(db, project.id, [2, 99])) == 1
    assert sorted(to_embed(store, project)) == [1, 3]


def test_a_deleted_task_takes_its_annotations_along(store: Store, project: Project) -> None:
    add(store, project, range(1, 4))
    labels = [AnnotationRecord(i, i, 1.0, 1.0, []) for i in (1, 2)]
    store.database.write(lambda db: save_annotations(db, project.id, labels))
    store.database.write(lambda db: delete_tasks(db, project.id, [1]))
    with store.database.read() as db:
        assert annotated_tasks(db, project.id) == {2}


def test_a_task_under_a_deleted_ones_id_is_neither_drawn_nor_accepted(
    store: Store, project: Project
) -> None:
    add(store, project, range(1, 4))

    def write(db):
        version = start_version(db, project.id, "space")
        drawn = [Choice(task, RANDOM, 0.1) for task in (1, 2)]
        set_shortlist(db, project.id, version.id, drawn)
        taken = [Acceptance(task, version.id, 0.99, [], WANTED, None, 0.0) for task in (2, 3)]
        add_acceptances(db, project.id, taken)
        delete_tasks(db, project.id, [2])

    store.database.write(write)
    add(store, project, range(2, 3), uri="/another/{}.jpg")
    with store.database.read() as db:
        assert set(drawn_tasks(db, project.id)) == {1}
        assert [item.task for item in list_acceptances(db, project.id)] == [3]
