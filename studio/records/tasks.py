"""Tasks, with and without their annotations and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import Field

from studio.errors import StudioNonsense
from studio.records.annotations import AnnotationInfo, PredictionInfo
from studio.records.base import MalformedEntry, Record, read_entries
from studio.records.fields import Data, Flag, Id, OptionalMoment, items


@dataclass(frozen=True)
class LatestChange:
    """The counts of a project's tasks and annotations, and when a task changed last."""

    tasks: int
    annotations: int
    at: datetime | None  # None without a task


class TaskInfo(Record):
    """One task. Its `data` is empty where Label Studio doesn't tell it, or tells no object."""

    noun: ClassVar[str] = "task"

    id: Id
    data: Data = Field(default_factory=dict)
    updated_at: OptionalMoment = None
    is_annotated: Flag = Field(False, alias="total_annotations")

    @classmethod
    def with_data(cls, body: Any) -> Self:
        """Read a task of a request. Raises StudioNonsense also where it has no data.

        A request that doesn't tell the data is no news of the task: what is known of it stays.
        """
        task = cls.from_json(body)
        if not isinstance(body.get("data"), dict):
            raise StudioNonsense('malformed task: "data" must be an object')
        return task


class AnnotatedTaskInfo(TaskInfo):
    """One task with its annotations and predictions, as far as the call brings them.

    Those that can't be read are left out; `malformed` holds such annotations.
    """

    annotations: tuple[AnnotationInfo, ...] = ()
    predictions: tuple[PredictionInfo, ...] = ()
    malformed: tuple[MalformedEntry, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read the task. Raises StudioNonsense when it is malformed itself."""
        annotations, malformed = read_entries(AnnotationInfo.from_json, items(body, "annotations"))
        predictions, _ = read_entries(PredictionInfo.from_json, items(body, "predictions"))
        if isinstance(body, dict):
            parts = {"annotations": annotations, "predictions": predictions, "malformed": malformed}
            body = body | parts
        return super().from_json(body)


@dataclass(frozen=True)
class RecentChanges:
    """The tasks that changed last, the newest first, and the counts at the same moment."""

    latest: LatestChange
    tasks: tuple[AnnotatedTaskInfo, ...]
    is_all: bool  # the project has no other tasks
