"""Converts Label Studio's tasks and annotations to the records that the store keeps."""

from collections.abc import Mapping
from typing import Any

from store.tasks.annotations import AnnotationRecord
from store.tasks.tasks import TaskRecord
from store.tasks.units import TaskId
from studio.config import LabelConfig
from studio.records.annotations import AnnotationInfo
from studio.records.fields import text
from studio.records.tasks import TaskInfo
from studio.regions import regions_to_json


def image_uris(config: LabelConfig, data: Mapping[str, Any]) -> list[str | None]:
    """The URIs of a task's images, at least one entry; None for a missing image."""
    return [text(uri) or None for uri in config.images(data)]


def task_record(config: LabelConfig, task: TaskInfo) -> TaskRecord:
    """Convert a task; without data it has no image."""
    uri, *more = image_uris(config, task.data)
    return TaskRecord(
        ls_id=TaskId(task.id),
        data=task.data,
        uri=uri,
        updated_at=task.updated_at.timestamp() if task.updated_at else 0.0,
        more=tuple(more),
    )


def annotation_record(annotation: AnnotationInfo) -> AnnotationRecord:
    """Convert an annotation."""
    return AnnotationRecord(
        ls_id=annotation.id,
        task_ls_id=TaskId(annotation.task),
        created_at=annotation.created_at.timestamp(),
        updated_at=annotation.updated_at.timestamp(),
        result=regions_to_json(annotation.result),
        completed_by=annotation.completed_by,
        was_cancelled=annotation.was_cancelled,
        ground_truth=annotation.ground_truth,
        lead_time=annotation.lead_time,
        parent_prediction=annotation.parent_prediction,
    )
