"""Counts the tasks that have a usable label, and keeps the count up to date."""

from collections.abc import Collection

from sqlalchemy import Connection

from services.labels.aggregation import read_labels
from store.database.chunks import chunks
from store.projects.projects import get_project
from store.store import Store
from store.tasks.annotations import current_annotations
from store.tasks.labelled import count_labelled, set_labelled, unmarked_tasks
from store.tasks.units import TaskId, task_of
from studio.config import LabelConfig, parse_label_config

BATCH = 1000  # tasks in one transaction: others wait for it


def count_labelled_tasks(db: Connection, project_id: int, config: LabelConfig) -> int:
    """The number of tasks with a usable label.

    It reads only annotations that changed since `mark_labelled_tasks`.
    """
    unmarked = unmarked_tasks(db, project_id)
    return count_labelled(db, project_id) + len(_labelled(db, project_id, config, unmarked))


def mark_labelled_tasks(store: Store, project_id: int) -> None:
    """Mark tasks whose annotations changed as having a usable label or none."""

    def mark(db: Connection) -> int:
        project = get_project(db, project_id)
        assert project is not None, "projects are never forgotten"
        unmarked = unmarked_tasks(db, project_id, BATCH)
        config = parse_label_config(project.label_config)
        labelled = _labelled(db, project_id, config, unmarked)
        set_labelled(db, project_id, labelled, unmarked - labelled)
        return len(unmarked)

    with store.database.read() as db:
        if not unmarked_tasks(db, project_id, 1):
            return
    while store.database.write(mark) == BATCH:
        pass


def _labelled(
    db: Connection, project_id: int, config: LabelConfig, tasks: Collection[TaskId]
) -> set[TaskId]:
    """Those of `tasks` that have a usable label."""
    labelled: set[TaskId] = set()
    for ids in chunks(tasks):
        annotations = current_annotations(db, project_id, ids)
        labelled.update(map(task_of, read_labels(annotations, config)))
    return labelled
