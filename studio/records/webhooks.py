"""Webhooks: their actions and their payloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from studio.errors import StudioNonsense
from studio.records.annotations import AnnotationInfo
from studio.records.base import MalformedEntry, read_entries
from studio.records.fields import LARGEST_ID
from studio.records.projects import ProjectPayload
from studio.records.tasks import TaskInfo

R = TypeVar("R")


class WebhookAction(StrEnum):
    """The action of a webhook, as Label Studio names it."""

    ANNOTATION_CREATED = "ANNOTATION_CREATED"
    ANNOTATIONS_CREATED = "ANNOTATIONS_CREATED"
    ANNOTATION_UPDATED = "ANNOTATION_UPDATED"
    ANNOTATIONS_DELETED = "ANNOTATIONS_DELETED"
    TASKS_CREATED = "TASKS_CREATED"
    TASKS_DELETED = "TASKS_DELETED"
    PROJECT_UPDATED = "PROJECT_UPDATED"


# Label Studio's button: it sends this to backends, like a webhook, and never to webhooks.
START_TRAINING = "START_TRAINING"


@dataclass(frozen=True)
class WebhookPayload:
    """The payload of a webhook. `deleted` holds ids of annotations or tasks, by `action`."""

    action: WebhookAction
    project: ProjectPayload
    annotations: tuple[AnnotationInfo, ...] = ()
    tasks: tuple[TaskInfo, ...] = ()
    deleted: tuple[int, ...] = ()
    malformed: tuple[MalformedEntry, ...] = ()  # entries of its lists, which are left out

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> WebhookPayload | None:
        """Read a webhook's body; None for an action that is none of WebhookAction.

        Raises:
            StudioNonsense: the body is malformed as a whole.
        """
        action = read_action(body)
        if action is None:
            return None
        project = ProjectPayload.of_webhook(body)
        if action in _ANNOTATED:
            # Without a label config the image isn't known, so nothing is to be read of the task.
            listed = body.get("task") if project.label_config else []
            annotations, malformed = _read(AnnotationInfo.from_json, body.get("annotation"))
            tasks, more = _read(TaskInfo.with_data, listed)
            return cls(action, project, annotations, tasks, malformed=malformed + more)
        if (key := _DELETED.get(action)) is not None:
            if not isinstance(body.get(key), list):
                raise StudioNonsense(f'"{key}" must be a list')
            deleted, malformed = read_entries(_id_of, body[key])
            return cls(action, project, deleted=deleted, malformed=malformed)
        return cls(action, project)


_ANNOTATED = {
    WebhookAction.ANNOTATION_CREATED,
    WebhookAction.ANNOTATIONS_CREATED,
    WebhookAction.ANNOTATION_UPDATED,
}
_DELETED = {
    WebhookAction.ANNOTATIONS_DELETED: "annotations",
    WebhookAction.TASKS_DELETED: "tasks",
}


def read_action(body: dict[str, Any]) -> WebhookAction | None:
    """The action of a webhook's body, None for one that is none of WebhookAction.

    Raises:
        StudioNonsense: it is no string.
    """
    action = body.get("action")
    if not isinstance(action, str):
        raise StudioNonsense('"action" must be a string')
    return WebhookAction.__members__.get(action)


def _read(read: Callable[[Any], R], value: Any) -> tuple[tuple[R, ...], tuple[MalformedEntry, ...]]:
    """One record, or those of a list that are well-formed."""
    return read_entries(read, value) if isinstance(value, list) else ((read(value),), ())


def _id_of(value: Any) -> int:
    number = value.get("id") if isinstance(value, dict) else value
    if type(number) is not int or not 0 < number <= LARGEST_ID:
        raise StudioNonsense("it has no id")
    return number
