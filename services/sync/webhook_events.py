"""Webhooks: what an event says, and what of it is stored, in one transaction.

Events get lost, repeat and come out of order. Annotations are kept as a history in which the last
write wins, and what an event only hints at becomes a wish for a look at Label Studio.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from services.sync.records import (
    ProjectPayload,
    annotation_record,
    number_id,
    project_payload,
    task_record,
)
from store.predictions.deletions import delete_tasks
from store.projects.projects import Project, find_project, save_project
from store.tasks.annotations import AnnotationRecord, delete_annotations, save_annotations
from store.tasks.tasks import TaskRecord, get_tasks, save_tasks
from store.work.pending_work import want
from studio.config import parse_label_config

log = structlog.get_logger()

R = TypeVar("R")


@dataclass(frozen=True)
class Event:
    """What a webhook says. `deleted` holds ids of annotations or tasks, as `action` says."""

    action: str
    project: ProjectPayload
    annotations: tuple[AnnotationRecord, ...] = ()
    tasks: tuple[TaskRecord, ...] = ()
    deleted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of an event. `status` is stored, nothing new, or ignored and why."""

    status: str
    project_id: int | None = None
    changed: int = 0


def parse_event(body: dict[str, Any]) -> Event | None:
    """The event; None for an action that we have no use for.

    Entries of a list that are malformed are left out and logged.

    Raises:
        ValueError: the body is malformed as a whole.
    """
    action = body.get("action")
    if not isinstance(action, str):
        raise ValueError('"action" must be a string')  # noqa: TRY004
    parse = _PARSERS.get(action)
    return None if parse is None else parse(action, body)


def _annotated(action: str, body: dict[str, Any]) -> Event:
    project = project_payload(body.get("project"))
    annotations = _each(action, annotation_record, body.get("annotation"))
    tasks: tuple[TaskRecord, ...] = ()
    if project.label_config:  # without it the image isn't known; the next reconcile brings it
        config = parse_label_config(project.label_config)
        tasks = _each(action, lambda value: task_record(config, value), body.get("task"))
    return Event(action, project, annotations, tasks)


def _each(action: str, parse: Callable[[Any], R], value: Any) -> tuple[R, ...]:
    """One record, or those of a list that are well-formed."""
    if not isinstance(value, list):
        return (parse(value),)
    records = []
    for position, item in enumerate(value):
        try:
            records.append(parse(item))
        except ValueError as error:
            log.warning(
                "malformed entry left out", action=action, position=position, reason=str(error)
            )
    return tuple(records)


def _deleted(key: str) -> Callable[[str, dict[str, Any]], Event]:
    def parse(action: str, body: dict[str, Any]) -> Event:
        listed = body.get(key)
        if not isinstance(listed, list):
            raise ValueError(f'"{key}" must be a list')  # noqa: TRY004
        ids = _each(action, _id_of, listed)
        return Event(action, project_payload(body.get("project")), deleted=ids)

    return parse


def _id_of(value: Any) -> int:
    return number_id(value.get("id") if isinstance(value, dict) else value)


def _project_only(action: str, body: dict[str, Any]) -> Event:
    return Event(action, project_payload(body.get("project")))


_PARSERS: dict[str, Callable[[str, dict[str, Any]], Event]] = {
    "ANNOTATION_CREATED": _annotated,
    "ANNOTATION_UPDATED": _annotated,
    "ANNOTATIONS_CREATED": _annotated,
    "ANNOTATIONS_DELETED": _deleted("annotations"),
    "TASKS_DELETED": _deleted("tasks"),
    "TASKS_CREATED": _project_only,
    "PROJECT_UPDATED": _project_only,
}
ACTIONS = frozenset(_PARSERS)


def apply_event(db: Connection, connection_id: str, event: Event) -> Outcome:
    """Store the event and wish for the work that follows from it."""
    project = _project_of(db, connection_id, event.project)
    if project is None:
        return Outcome("ignored: this project is unknown")
    if project.gone_at is not None:
        return Outcome("ignored: this project was disconnected")
    if event.action in {"ANNOTATIONS_DELETED", "TASKS_DELETED"}:
        remove = delete_tasks if event.action == "TASKS_DELETED" else delete_annotations
        return _wish(db, project, remove(db, project.id, event.deleted), "learn")
    if event.action == "TASKS_CREATED":
        return _wish(db, project, 1, "sync")
    if event.action == "PROJECT_UPDATED":
        return _wish(db, project, int(refresh_project(db, project, event.project)), "sync")
    return _store_annotations(db, project, event)


def _project_of(db: Connection, connection_id: str, payload: ProjectPayload) -> Project | None:
    ref = payload.ref
    known = find_project(db, connection_id, ref.ls_id, ref.ls_created)
    if known is not None or ref.ls_created is None:
        return known
    created = save_project(
        db,
        connection_id,
        ref.ls_id,
        ref.ls_created,
        title=payload.title,
        label_config=payload.label_config,
    )
    want(db, created.id, "sync")
    return created


def refresh_project(db: Connection, project: Project, payload: ProjectPayload) -> bool:
    """Take over title and label config. Returns whether they changed: our own PATCH comes back."""
    title, label_config = payload.title, payload.label_config
    now = (title or project.title, label_config or project.label_config)
    if now == (project.title, project.label_config):
        return False
    save_project(
        db,
        project.connection_id,
        project.ls_id,
        project.ls_created,
        title=title,
        label_config=label_config,
    )
    return True


def _wish(db: Connection, project: Project, changed: int, kind: str) -> Outcome:
    if changed:
        want(db, project.id, kind)
    return Outcome("stored" if changed else "nothing new", project.id, changed)


def _store_annotations(db: Connection, project: Project, event: Event) -> Outcome:
    save_tasks(db, project.id, event.tasks)
    changed = save_annotations(db, project.id, event.annotations)
    if changed:
        ids = {record.task_ls_id for record in event.annotations}
        known = get_tasks(db, project.id, ids)
        if len({task.ls_id for task in known.values()}) < len(ids):
            want(db, project.id, "sync")
        space = project.embedding_space
        if any(
            task.uri and not task.image_error and (space is None or task.embedded_space != space)
            for task in known.values()
        ):
            want(db, project.id, "embed")
    return _wish(db, project, changed, "learn")
