"""Migrations of data that is there."""

from alembic import command
from alembic.config import Config

from store.database.engine import MIGRATIONS
from store.projects.projects import Project
from store.store import Store
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.labelled import count_labelled, set_labelled, unmarked_tasks
from store.tasks.tasks import TaskRecord, save_tasks


def move_to(store: Store, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with store.database._writer.connect() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)
        connection.commit()


def test_tasks_with_annotations_are_read_after_the_upgrade(store: Store, project: Project) -> None:
    def write(db):
        tasks = [TaskRecord(task, {"image": "/a"}, "/a", 1.0) for task in (1, 2, 3)]
        save_tasks(db, project.id, tasks)
        annotations = [AnnotationRecord(task, task, 1.0, 1.0, []) for task in (1, 2)]
        save_annotations(db, project.id, annotations)
        set_labelled(db, project.id, [1], [2])

    store.database.write(write)
    move_to(store, "0008", down=True)
    move_to(store, "head")
    with store.database.read() as db:
        assert unmarked_tasks(db, project.id) == {1, 2}
        assert count_labelled(db, project.id) == 0
