"""Projects, users and imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainValidator

from studio.errors import StudioNonsense
from studio.records.base import Record
from studio.records.fields import (
    LARGEST_ID,
    Count,
    CreationTime,
    Flag,
    Id,
    Text,
    count,
)


def _needed(value: Any) -> int:
    return count(value) or 1


def _or_empty(value: Any) -> Any:
    return value or ()


class UserInfo(Record):
    """A user of Label Studio."""

    noun: ClassVar[str] = "user"

    id: Id
    email: Text = ""


@dataclass(frozen=True)
class ProjectRef:
    """A Label Studio project. `ls_created` (whole seconds) tells a reused id apart, if known."""

    ls_id: int
    ls_created: int | None

    @classmethod
    def of_request(cls, body: dict[str, Any]) -> ProjectRef:
        """Read the project of a request to a backend. Raises StudioNonsense."""
        return cls.parse(body.get("project"))

    @classmethod
    def parse(cls, value: Any) -> ProjectRef:
        """Read `"ID.CREATED"`. Raises StudioNonsense."""
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            raise StudioNonsense('"project" must be "ID.CREATED", as Label Studio sends it')
        first, _, second = value.partition(".")
        if not first.isdecimal() or (second and not second.isdecimal()):
            raise StudioNonsense(f'"project" must be "ID.CREATED", not {value[:50]!r}')
        return cls(_whole(first), _whole(second) if second else None)


def _whole(digits: str) -> int:
    number = int(digits[:20])
    if not 0 < number <= LARGEST_ID:
        raise StudioNonsense(f'"project" must be "ID.CREATED", and {digits[:30]!r} is neither')
    return number


class ProjectPayload(Record):
    """The project of a webhook; a missing field is an empty string."""

    noun: ClassVar[str] = "project"

    id: Id
    created_at: CreationTime | None = None
    title: Text = ""
    label_config: Text = ""

    @property
    def ref(self) -> ProjectRef:
        """Its id, and when it was created."""
        at = self.created_at
        return ProjectRef(self.id, None if at is None else int(at.timestamp()))

    @classmethod
    def of_webhook(cls, body: Any) -> ProjectPayload:
        """Read the project of a webhook's body. Raises StudioNonsense."""
        project = body.get("project")
        if not isinstance(project, dict):
            raise StudioNonsense('there is no "project" object: the webhook must send its payload')
        return cls.from_json(project)


class ProjectInfo(Record):
    """A project with Label Studio's own counters."""

    noun: ClassVar[str] = "project"

    id: Id
    title: Text = ""
    created_at: CreationTime
    label_config: Text = ""
    model_version: Text = ""  # whose predictions are shown: a version, a backend's title, or ""
    sampling: Text = ""
    # How many annotations a task needs.
    maximum_annotations: Annotated[int, PlainValidator(_needed)] = 1
    # Whether annotators see predictions at all.
    show_predictions: Flag = Field(True, alias="show_collab_predictions")
    tasks: Count = Field(0, alias="task_number")
    tasks_with_annotations: Count = Field(0, alias="num_tasks_with_annotations")
    annotations: Count = Field(0, alias="total_annotations_number")  # without skipped ones
    skipped: Count = Field(0, alias="skipped_annotations_number")
    predictions: Count = Field(0, alias="total_predictions_number")

    @property
    def uid(self) -> str:
        """The name that Label Studio sends to a backend: an id reused later has another uid."""
        return f"{self.id}.{int(self.created_at.timestamp())}"


class ProjectSettings(Record):
    """What people set of a project, as far as learning depends on it."""

    noun: ClassVar[str] = "settings of a project"

    id: Id
    title: Text = ""
    created_at: CreationTime
    label_config: Text = ""


class ProjectCounts(Record):
    """A project's counts: whatever is made or deleted changes one of them."""

    noun: ClassVar[str] = "counts of a project"

    id: Id
    tasks: Count = Field(0, alias="task_number")
    annotations: Count = Field(0, alias="total_annotations_number")  # without skipped ones
    skipped: Count = Field(0, alias="skipped_annotations_number")


class ImportInfo(Record):
    """The tasks that an import created."""

    noun: ClassVar[str] = "import"

    tasks: Count = Field(0, alias="task_count")
    task_ids: Annotated[tuple[Id, ...], BeforeValidator(_or_empty)] = ()
