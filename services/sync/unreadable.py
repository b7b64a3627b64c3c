"""Annotations that can't be read: what of Label Studio's answers is left out."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from store.projects.key_values import ProjectKey
from store.tasks.units import TaskId

MOST = 1_000  # tasks that are remembered

UNREADABLE: ProjectKey[dict[str, str]] = ProjectKey("unreadable")  # {task: why}


def unreadable_annotations(db: Connection, project_id: int) -> dict[TaskId, str]:
    """{task: why its annotation can't be read}."""
    stored = UNREADABLE.of(project_id).get(db) or {}
    return {TaskId(int(task)): reason for task, reason in stored.items()}


def note_unreadable(
    db: Connection, project_id: int, seen: Collection[TaskId], reasons: Mapping[TaskId, str]
) -> None:
    """Note which annotations of the tasks just `seen` can't be read; the others can."""
    key = UNREADABLE.of(project_id)
    before = key.get(db) or {}
    kept = {task: reason for task, reason in before.items() if int(task) not in set(seen)}
    now = kept | {str(task): reason for task, reason in sorted(reasons.items())}
    now = dict(list(now.items())[:MOST])
    if now != before:
        key.set(db, now) if now else key.delete(db)
