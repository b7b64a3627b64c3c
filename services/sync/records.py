"""What Label Studio sends, translated into our records. Whatever is malformed is a ValueError."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from store.tasks.annotations import AnnotationRecord
from store.tasks.tasks import TaskRecord
from studio.config import LabelConfig

LARGEST_ID = 2**31 - 1  # what the database's integer columns hold


@dataclass(frozen=True)
class ProjectRef:
    """A Label Studio project. `ls_created` (whole seconds) tells a reused id apart, if known."""

    ls_id: int
    ls_created: int | None


@dataclass(frozen=True)
class ProjectPayload:
    """The project as a webhook tells it; empty strings where it says nothing."""

    ref: ProjectRef
    title: str
    label_config: str


def project_ref(value: Any) -> ProjectRef:
    """The project of `"ID.CREATED"`, as `/setup` and `/predict` name it."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError('"project" must be "ID.CREATED", as Label Studio sends it')  # noqa: TRY004
    first, _, second = value.partition(".")
    if not first.isdecimal() or (second and not second.isdecimal()):
        raise ValueError(f'"project" must be "ID.CREATED", not {value[:50]!r}')
    created = number_id(int(second[:20])) if second else None
    return ProjectRef(number_id(int(first[:20])), created)


def project_payload(value: Any) -> ProjectPayload:
    """The project of a webhook."""
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004
            'there is no "project" object: the webhook must send its payload'
        )
    created = value.get("created_at")
    ref = ProjectRef(
        number_id(value.get("id")),
        None if created is None else number_id(int(seconds(created))),
    )
    return ProjectPayload(ref, text(value.get("title")), text(value.get("label_config")))


def number_id(value: Any) -> int:
    """An id of Label Studio's."""
    if type(value) is not int or not 0 < value <= LARGEST_ID:
        raise ValueError(f"{str(value)[:30]!r} is no id")
    return value


def optional_id(value: Any) -> int | None:
    """An id, or null. An object with an `id` counts as that."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return None if value is None else number_id(value)


def seconds(value: Any) -> float:
    """Seconds since 1970 of Label Studio's way to write a time."""
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:30]!r} is no time")  # noqa: TRY004
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def text(value: Any) -> str:
    """A string that any database takes; empty for anything else."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def image_uris(config: LabelConfig, data: Mapping[str, Any]) -> list[str | None]:
    """The images that a task shows to what we learn, at least one entry: None where none is."""
    return [text(uri) or None for uri in config.images(data)]


def task_record(config: LabelConfig, value: Any) -> TaskRecord:
    """A task with its `data`."""
    if not isinstance(value, Mapping) or not isinstance(value.get("data"), Mapping):
        raise ValueError('a task must be an object with "id" and "data"')  # noqa: TRY004
    updated = value.get("updated_at")
    uri, *more = image_uris(config, value["data"])
    return TaskRecord(
        ls_id=number_id(value.get("id")),
        data=value["data"],
        uri=uri,
        updated_at=seconds(updated) if updated else 0.0,
        more=tuple(more),
    )


def annotation_record(value: Any) -> AnnotationRecord:
    """An annotation with its `result` and its task's id."""
    if not isinstance(value, Mapping):
        raise ValueError("an annotation must be an object")  # noqa: TRY004
    result = value.get("result")
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise ValueError('an annotation\'s "result" must be a list of objects')
    lead_time = value.get("lead_time")
    if isinstance(lead_time, bool) or not isinstance(lead_time, (int, float)):
        lead_time = None
    return AnnotationRecord(
        ls_id=number_id(value.get("id")),
        task_ls_id=number_id(value.get("task")),
        created_at=seconds(value.get("created_at") or value.get("updated_at")),
        updated_at=seconds(value.get("updated_at") or value.get("created_at")),
        result=result,
        completed_by=optional_id(value.get("completed_by")),
        was_cancelled=bool(value.get("was_cancelled")),
        ground_truth=bool(value.get("ground_truth")),
        lead_time=float(lead_time) if lead_time is not None and _sane(lead_time) else None,
        parent_prediction=optional_id(value.get("parent_prediction")),
    )


def _sane(number: float) -> bool:
    return math.isfinite(number) and abs(number) < 1e12
