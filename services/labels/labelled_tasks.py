"""Counts the tasks that have a usable label, and what can't be learned; keeps both up to date."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from services.labels.aggregation import read_labels
from services.labels.label_faults import (
    FaultKind,
    LabelFault,
    faults_from_text,
    faults_of,
    faults_to_text,
)
from services.labels.project_config import label_config_of
from store.database.chunks import chunks
from store.database.locks import lock_content
from store.projects.projects import get_project
from store.store import Store
from store.tasks.annotations import current_annotations
from store.tasks.labelled import count_faults, count_labelled, set_labelled, unmarked_tasks
from store.tasks.units import TaskId, task_of
from studio.config import LabelConfig

BATCH = 1000  # tasks in one transaction: others wait for it


@dataclass
class FaultyTasks:
    """Tasks with labels that can't be learned for one reason; `details` counts tasks by detail."""

    count: int = 0
    tasks: set[TaskId] = field(default_factory=set)  # some of them, the first one included
    details: Counter[str] = field(default_factory=Counter)


@dataclass
class LabelCounts:
    """The number of tasks with a usable label, and those with labels that can't be learned."""

    labelled: int = 0
    faults: dict[tuple[FaultKind, str], FaultyTasks] = field(default_factory=dict)  # (, control)

    def add(self, faults: Iterable[LabelFault], count: int, first: TaskId) -> None:
        """Count tasks with these faults."""
        counted = set()
        for fault in faults:
            key = (fault.kind, fault.control)
            faulty = self.faults.setdefault(key, FaultyTasks())
            faulty.details[fault.detail] += count
            if key not in counted:
                counted.add(key)
                faulty.count += count
                faulty.tasks.add(first)


def count_labelled_tasks(db: Connection, project_id: int, config: LabelConfig) -> int:
    """The number of tasks with a usable label.

    It reads only annotations that changed since `mark_labelled_tasks`.
    """
    return count_labels(db, project_id, config).labelled


def count_labels(db: Connection, project_id: int, config: LabelConfig) -> LabelCounts:
    """Count the tasks with a usable label, and the labels that can't be learned.

    It reads only annotations that changed since `mark_labelled_tasks`.
    """
    unmarked = _read(db, project_id, config, unmarked_tasks(db, project_id))
    counts = LabelCounts(count_labelled(db, project_id) + len(unmarked.labelled))
    for group in count_faults(db, project_id):
        counts.add(faults_from_text(group.faults), group.tasks, group.first)
    for task, text in unmarked.faults.items():
        counts.add(faults_from_text(text), 1, task)
    return counts


def mark_labelled_tasks(store: Store, project_id: int) -> None:
    """Mark tasks whose annotations changed as having a usable label or none, and with faults."""

    def mark(db: Connection) -> int:
        lock_content(db, project_id)
        project = get_project(db, project_id)
        assert project is not None, "projects are never forgotten"
        unmarked = unmarked_tasks(db, project_id, BATCH)
        labels = _read(db, project_id, label_config_of(project), unmarked)
        unlabelled = unmarked - labels.labelled
        set_labelled(db, project_id, labels.labelled, unlabelled, labels.faults)
        return len(unmarked)

    with store.database.read() as db:
        if not unmarked_tasks(db, project_id, 1):
            return
    while store.database.write(mark) == BATCH:
        pass


@dataclass
class _TaskLabels:
    """Tasks that have a usable label, and {task: what of its annotations can't be learned}."""

    labelled: set[TaskId] = field(default_factory=set)
    faults: dict[TaskId, str] = field(default_factory=dict)


def _read(
    db: Connection, project_id: int, config: LabelConfig, tasks: Collection[TaskId]
) -> _TaskLabels:
    """Read the annotations of these tasks."""
    read = _TaskLabels()
    for ids in chunks(tasks):
        annotations = current_annotations(db, project_id, ids)
        read.labelled.update(map(task_of, read_labels(annotations, config)))
        faults: dict[TaskId, set[LabelFault]] = {}
        for annotation in annotations:
            faults.setdefault(annotation.task_ls_id, set()).update(faults_of(annotation, config))
        texts = {task: faults_to_text(of_task) for task, of_task in faults.items()}
        read.faults |= {task: text for task, text in texts.items() if text is not None}
    return read
