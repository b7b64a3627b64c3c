"""Annotations and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import model_validator

from studio.records.base import Record
from studio.records.fields import (
    Count,
    Flag,
    Id,
    Moment,
    Number,
    ReadableRegions,
    Reference,
    Regions,
    Text,
)
from studio.regions import StudioRegion, regions_to_json


class AnnotationInfo(Record):
    """One annotation. A skipped one has `was_cancelled` and is no label.

    Of its two times, one may be missing: then it has the other's.
    """

    noun: ClassVar[str] = "annotation"

    id: Id
    task: Id
    project: Count = 0
    result: Regions
    completed_by: Reference = None
    was_cancelled: Flag = False
    ground_truth: Flag = False
    created_at: Moment
    updated_at: Moment
    lead_time: Number = None  # seconds
    parent_prediction: Reference = None  # the prediction that it was pre-filled from

    @model_validator(mode="before")
    @classmethod
    def _complete_times(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        created, updated = body.get("created_at"), body.get("updated_at")
        if created and updated:
            return body
        return body | {"created_at": created or updated, "updated_at": updated or created}


class PredictionInfo(Record):
    """One prediction that Label Studio holds. An empty `result` is shown to nobody.

    Other backends write predictions too: what is no region in a `result` is left out.
    """

    noun: ClassVar[str] = "prediction"

    id: Id
    task: Count = 0
    model_version: Text = ""
    score: Number = None
    result: ReadableRegions = ()


@dataclass(frozen=True)
class NewPrediction:
    """A prediction to be pushed. Its `score` is in [0, 1]; Label Studio shows the lowest first."""

    task: int
    result: tuple[StudioRegion, ...]
    score: float
    model_version: str

    def to_json(self) -> dict[str, Any]:
        """Make the JSON that Label Studio imports."""
        return {
            "task": self.task,
            "result": regions_to_json(self.result),
            "score": self.score,
            "model_version": self.model_version,
        }
