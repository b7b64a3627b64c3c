"""What Label Studio tells us, as plain records.

Each `from_json` takes what we need from an answer and ignores the rest, so that a newer server's
extra fields do no harm; what is missing and can't be done without is a `StudioNonsense`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from studio.fields import (
    fraction,
    integer,
    items,
    moment,
    number,
    optional_moment,
    reference,
    regions,
    text,
)

Region = dict[str, Any]  # one item of an annotation's or a prediction's `result`


@dataclass(frozen=True)
class UserInfo:
    id: int
    email: str

    @classmethod
    def from_json(cls, body: Any) -> UserInfo:
        return cls(id=integer(body, "id"), email=text(body, "email"))


@dataclass(frozen=True)
class ProjectInfo:
    """A project with Label Studio's own counters."""

    id: int
    title: str
    created_at: datetime
    label_config: str
    model_version: str  # whose predictions are shown: a version, a backend's title, or ""
    sampling: str
    maximum_annotations: int  # how many annotations a task needs
    show_predictions: bool  # whether annotators see predictions at all
    tasks: int
    tasks_with_annotations: int
    annotations: int  # without skipped ones
    skipped: int
    predictions: int

    @property
    def uid(self) -> str:
        """What Label Studio sends as `project` to a backend: an id reused later has another uid."""
        return f"{self.id}.{int(self.created_at.timestamp())}"

    @classmethod
    def from_json(cls, body: Any) -> ProjectInfo:
        return cls(
            id=integer(body, "id"),
            title=text(body, "title"),
            created_at=moment(body, "created_at"),
            label_config=text(body, "label_config"),
            model_version=text(body, "model_version"),
            sampling=text(body, "sampling"),
            maximum_annotations=number(body, "maximum_annotations", 1),
            show_predictions=bool(body.get("show_collab_predictions", True)),
            tasks=number(body, "task_number"),
            tasks_with_annotations=number(body, "num_tasks_with_annotations"),
            annotations=number(body, "total_annotations_number"),
            skipped=number(body, "skipped_annotations_number"),
            predictions=number(body, "total_predictions_number"),
        )


@dataclass(frozen=True)
class AnnotationInfo:
    """One annotation. A skipped one has `was_cancelled` and is no label."""

    id: int
    task: int
    project: int
    result: tuple[Region, ...]
    completed_by: int | None
    was_cancelled: bool
    ground_truth: bool
    created_at: datetime
    updated_at: datetime
    lead_time: float | None  # seconds
    parent_prediction: int | None  # the prediction that it was pre-filled from

    @classmethod
    def from_json(cls, body: Any) -> AnnotationInfo:
        return cls(
            id=integer(body, "id"),
            task=number(body, "task"),
            project=number(body, "project"),
            result=regions(body),
            completed_by=reference(body, "completed_by"),
            was_cancelled=bool(body.get("was_cancelled")),
            ground_truth=bool(body.get("ground_truth")),
            created_at=moment(body, "created_at"),
            updated_at=moment(body, "updated_at"),
            lead_time=fraction(body, "lead_time"),
            parent_prediction=reference(body, "parent_prediction"),
        )


@dataclass(frozen=True)
class PredictionInfo:
    """One prediction that Label Studio holds. An empty `result` is shown to nobody."""

    id: int
    task: int
    model_version: str
    score: float | None
    result: tuple[Region, ...]

    @classmethod
    def from_json(cls, body: Any) -> PredictionInfo:
        return cls(
            id=integer(body, "id"),
            task=number(body, "task"),
            model_version=text(body, "model_version"),
            score=fraction(body, "score"),
            result=regions(body),
        )


@dataclass(frozen=True)
class TaskInfo:
    """One task. Annotations and predictions are there only where the call says so."""

    id: int
    data: dict[str, Any]
    created_at: datetime | None = None
    updated_at: datetime | None = None
    annotations: tuple[AnnotationInfo, ...] = ()
    predictions: tuple[PredictionInfo, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> TaskInfo:
        data = body.get("data") if isinstance(body, dict) else None
        return cls(
            id=integer(body, "id"),
            data=data if isinstance(data, dict) else {},
            created_at=optional_moment(body, "created_at"),
            updated_at=optional_moment(body, "updated_at"),
            annotations=tuple(map(AnnotationInfo.from_json, items(body, "annotations"))),
            predictions=tuple(map(PredictionInfo.from_json, items(body, "predictions"))),
        )


@dataclass(frozen=True)
class NewPrediction:
    """A prediction to be pushed. `score` in [0, 1] is what Label Studio sorts by."""

    task: int
    result: tuple[Region, ...]
    score: float
    model_version: str

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "result": list(self.result),
            "score": self.score,
            "model_version": self.model_version,
        }


@dataclass(frozen=True)
class BackendInfo:
    """A machine-learning backend that a project is connected to."""

    id: int
    project: int
    url: str
    title: str
    is_interactive: bool
    basic_auth_user: str | None
    has_password: bool
    state: str  # CO connected, DI disconnected, ER error
    error: str | None

    @classmethod
    def from_json(cls, body: Any) -> BackendInfo:
        return cls(
            id=integer(body, "id"),
            project=number(body, "project"),
            url=text(body, "url"),
            title=text(body, "title"),
            is_interactive=bool(body.get("is_interactive")),
            basic_auth_user=text(body, "basic_auth_user") or None,
            has_password=bool(body.get("basic_auth_pass_is_set")),
            state=text(body, "state"),
            error=text(body, "error_message") or None,
        )


@dataclass(frozen=True)
class WebhookInfo:
    """A webhook. `project` is None for one that belongs to the whole organisation."""

    id: int
    project: int | None
    url: str
    actions: frozenset[str]
    headers: dict[str, str]
    is_active: bool
    send_payload: bool
    send_for_all_actions: bool

    @classmethod
    def from_json(cls, body: Any) -> WebhookInfo:
        headers = body.get("headers") if isinstance(body, dict) else None
        return cls(
            id=integer(body, "id"),
            project=reference(body, "project"),
            url=text(body, "url"),
            actions=frozenset(map(str, body.get("actions") or ())),
            headers={str(k): str(v) for k, v in headers.items()} if headers else {},
            is_active=bool(body.get("is_active")),
            send_payload=bool(body.get("send_payload")),
            send_for_all_actions=bool(body.get("send_for_all_actions")),
        )


@dataclass(frozen=True)
class ImportInfo:
    """What an import into a project created."""

    tasks: int
    task_ids: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> ImportInfo:
        ids = body.get("task_ids") or () if isinstance(body, dict) else ()
        return cls(tasks=number(body, "task_count"), task_ids=tuple(int(i) for i in ids))
