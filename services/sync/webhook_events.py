"""Reads webhooks and stores their contents, each in one transaction.

Events get lost, repeat and come out of order. Annotations are kept as a history in which the last
write wins, and what an event only hints at becomes a request to read Label Studio.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from services.connections.reach import note_arrival
from services.sync.records import annotation_record, task_record
from store.predictions.deletions import delete_tasks
from store.projects.projects import Project, change_project, find_project, save_project
from store.tasks.annotations import AnnotationRecord, delete_annotations, save_annotations
from store.tasks.tasks import TaskRecord, get_tasks, save_tasks
from store.tasks.units import TaskId
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.config import parse_label_config
from studio.records.base import MalformedCount
from studio.records.projects import ProjectPayload
from studio.records.webhooks import WebhookAction, WebhookPayload

log = structlog.get_logger()


@dataclass(frozen=True)
class Event:
    """The contents of a webhook. `deleted` holds ids of annotations or tasks, by `action`."""

    action: WebhookAction
    project: ProjectPayload
    annotations: tuple[AnnotationRecord, ...] = ()
    tasks: tuple[TaskRecord, ...] = ()
    deleted: tuple[int, ...] = ()

    def apart(self) -> "Iterator[Event]":
        """An event for each annotation with its task, or for each deletion."""
        tasks = {task.ls_id: task for task in self.tasks}
        for annotation in self.annotations:
            task = tasks.get(annotation.task_ls_id)
            yield replace(self, annotations=(annotation,), tasks=(task,) if task else ())
        for ls_id in self.deleted:
            yield replace(self, deleted=(ls_id,))
        if not self.annotations and not self.deleted:
            yield self


@dataclass(frozen=True)
class Outcome:
    """The outcome of an event: stored, nothing new, or ignored and why."""

    status: str
    project_id: int | None = None
    changed: int = 0


def read_event(body: dict[str, Any]) -> Event | None:
    """Read a webhook's body; None for an action without use for us.

    Entries of a list that are malformed are left out and logged.

    Raises:
        ValueError: the body is malformed as a whole.
    """
    payload = WebhookPayload.from_json(body)
    if payload is None:
        return None
    if payload.malformed:
        malformed = MalformedCount.of(payload.malformed)
        log.warning(
            "malformed entries left out",
            action=payload.action,
            count=malformed.total,
            reasons=str(malformed),
        )
    config = parse_label_config(payload.project.label_config)
    return Event(
        payload.action,
        payload.project,
        tuple(map(annotation_record, payload.annotations)),
        tuple(task_record(config, task) for task in payload.tasks),
        payload.deleted,
    )


def apply_event(db: Connection, connection_id: str, event: Event, *, late: bool = False) -> Outcome:
    """Store the event, and request the work that follows from it.

    Args:
        late: the event waited long, so that Label Studio may have given the ids of what it deletes
            to something else: what is deleted is read from its API.
    """
    project = _project_of(db, connection_id, event.project)
    if project is None:
        return Outcome("ignored: this project is unknown")
    if project.gone_at is not None:
        return Outcome("ignored: this project was disconnected")
    if late and event.deleted:
        change_project(db, project.id, tasks_cursor=None, listed_at=None)
        return _request_work(db, project, len(event.deleted), WorkKind.SYNC)
    match event.action:
        case WebhookAction.TASKS_DELETED:
            deleted = delete_tasks(db, project.id, list(map(TaskId, event.deleted)))
            return _request_work(db, project, deleted, WorkKind.LEARN)
        case WebhookAction.ANNOTATIONS_DELETED:
            return _request_work(
                db, project, delete_annotations(db, project.id, event.deleted), WorkKind.LEARN
            )
        case WebhookAction.TASKS_CREATED:
            return _request_work(db, project, 1, WorkKind.SYNC)
        case WebhookAction.PROJECT_UPDATED:
            note_arrival(db, project.id)
            return _request_work(
                db, project, int(refresh_project(db, project, event.project)), WorkKind.SYNC
            )
        case _:
            return _store_annotations(db, project, event)


def _project_of(db: Connection, connection_id: str, payload: ProjectPayload) -> Project | None:
    ref = payload.ref
    existing = find_project(db, connection_id, ref.ls_id, ref.ls_created)
    if existing is not None or ref.ls_created is None:
        return existing
    created = save_project(
        db,
        connection_id,
        ref.ls_id,
        ref.ls_created,
        title=payload.title,
        label_config=payload.label_config,
    )
    want(db, created.id, WorkKind.SYNC)
    return created


def refresh_project(db: Connection, project: Project, payload: ProjectPayload) -> bool:
    """Take over title and label config. Returns whether they changed: our own PATCH comes back."""
    title, label_config = payload.title, payload.label_config
    updated = (title or project.title, label_config or project.label_config)
    if updated == (project.title, project.label_config):
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


def _request_work(db: Connection, project: Project, changed: int, kind: WorkKind) -> Outcome:
    if changed:
        want(db, project.id, kind)
    return Outcome("stored" if changed else "nothing new", project.id, changed)


def _store_annotations(db: Connection, project: Project, event: Event) -> Outcome:
    save_tasks(db, project.id, event.tasks)
    changed = save_annotations(db, project.id, event.annotations)
    if changed:
        ids = {record.task_ls_id for record in event.annotations}
        images = get_tasks(db, project.id, ids)
        if len({task.ls_id for task in images.values()}) < len(ids):
            want(db, project.id, WorkKind.SYNC)
        space = project.embedding_space
        if any(
            task.uri and not task.image_error and (space is None or task.embedded_space != space)
            for task in images.values()
        ):
            want(db, project.id, WorkKind.EMBED)
    return _request_work(db, project, changed, WorkKind.LEARN)
