"""Annotations: events repeat, come out of order and get lost; the last write counts."""

from store.projects.projects import Project
from store.store import Store
from store.tasks.annotations import (
    AnnotationRecord,
    annotated_tasks,
    current_annotations,
    delete_annotations,
    parent_predictions,
    save_annotations,
)


def record(
    updated_at: float, *, ls_id: int = 1, task: int = 10, created_at: float = 1.0, **more
) -> AnnotationRecord:
    result = [{"value": {"choices": [str(updated_at)]}}]
    return AnnotationRecord(ls_id, task, created_at, updated_at, result, **more)


def save(store: Store, project: Project, *records: AnnotationRecord) -> int:
    return store.database.write(lambda db: save_annotations(db, project.id, records))


def current(store: Store, project: Project) -> list[AnnotationRecord]:
    with store.database.read() as db:
        return current_annotations(db, project.id)


def test_a_repeated_event_changes_nothing(store: Store, project: Project) -> None:
    assert save(store, project, record(5.0)) == 1
    assert save(store, project, record(5.0)) == 0
    assert len(current(store, project)) == 1


def test_the_last_write_wins_whatever_the_order(store: Store, project: Project) -> None:
    save(store, project, record(9.0))
    assert save(store, project, record(5.0)) == 0
    assert [a.updated_at for a in current(store, project)] == [9.0]
    save(store, project, record(11.0))
    assert [a.updated_at for a in current(store, project)] == [11.0]


def test_a_deletion_that_overtakes_the_creation_stays(store: Store, project: Project) -> None:
    store.database.write(lambda db: delete_annotations(db, project.id, [1]))
    assert save(store, project, record(5.0)) == 0
    assert current(store, project) == []


def test_deleting_twice_counts_once(store: Store, project: Project) -> None:
    save(store, project, record(5.0))
    delete = lambda db: delete_annotations(db, project.id, [1])  # noqa: E731
    assert store.database.write(delete) == 1
    assert store.database.write(delete) == 0
    assert current(store, project) == []


def test_a_skipped_task_is_no_label_but_done(store: Store, project: Project) -> None:
    save(store, project, record(5.0, was_cancelled=True))
    assert current(store, project) == []
    with store.database.read() as db:
        assert annotated_tasks(db, project.id) == {10}


def test_the_first_parent_prediction_is_kept(store: Store, project: Project) -> None:
    save(store, project, record(5.0, parent_prediction=77))
    save(store, project, record(6.0, parent_prediction=None))
    assert current(store, project)[0].parent_prediction == 77
    with store.database.read() as db:
        assert parent_predictions(db, project.id) == {77}


def test_an_id_used_again_is_another_annotation(store: Store, project: Project) -> None:
    save(store, project, record(5.0, parent_prediction=77))
    store.database.write(lambda db: delete_annotations(db, project.id, [1]))
    assert save(store, project, record(5.5)) == 0, "a late event of the deleted one"
    assert save(store, project, record(9.0, created_at=9.0, task=11)) == 1
    (known,) = current(store, project)
    assert (known.task_ls_id, known.parent_prediction) == (11, None)
