"""The state of a /predict request while it is answered."""

import math
from dataclasses import dataclass, field

import numpy as np

from backend.inference.client import Embedded
from backend.protocol.predict_request import ImageKey, RequestedImage, RequestedTask
from model.arrays import Float16s
from services.embedding.vectors import unit_vectors
from services.labels.multi_image import parts_of
from services.suggestions.control_group import in_control_group, withheld
from services.suggestions.prediction_items import prediction_item
from services.suggestions.predictor import Predictor, Suggestion
from services.suggestions.queue_order import rest_score
from services.suggestions.suggest import suggest_together
from store.predictions.publications import PredictionItem
from store.projects.projects import Project
from store.tasks.tasks import Task
from store.tasks.units import TaskId, UnitId, unit_of
from store.versions.versions import Version
from studio.config import LabelConfig
from studio.records.requests import PredictRequest

ROWS = 2000  # embeddings multiplied at a time
NOTHING = Suggestion([], 1.0)


@dataclass
class PredictState:
    """A request to /predict with its tasks, their embeddings, errors and suggestions."""

    request: PredictRequest
    project: Project
    version: Version
    config: LabelConfig
    predictor: Predictor
    tasks: list[RequestedTask]
    shortlist_scores: dict[TaskId, float]
    stored_tasks: dict[UnitId, Task]
    blind_share: float
    suggestions: dict[int, Suggestion] = field(default_factory=dict)  # by position
    vectors: dict[ImageKey, Float16s] = field(default_factory=dict)
    permanent_errors: dict[ImageKey, str] = field(default_factory=dict)
    transient_errors: dict[ImageKey, str] = field(default_factory=dict)
    new_embeddings: dict[ImageKey, Embedded] = field(default_factory=dict)
    lacking: set[TaskId] = field(default_factory=set)  # the part of a guest

    @property
    def missing(self) -> list[RequestedImage]:
        """Images without an embedding or an error yet."""
        outcomes = (self.vectors, self.permanent_errors, self.transient_errors)
        return [
            image
            for requested in self.tasks
            if requested.position not in self.suggestions
            for image in requested.images
            if not any(image.key in outcome for outcome in outcomes)
        ]

    @property
    def unusable(self) -> list[RequestedTask]:
        """Tasks whose images all have a permanent error."""
        if not self.permanent_errors:
            return []
        return [
            requested
            for requested in self.tasks
            if all(image.key in self.permanent_errors for image in requested.images)
        ]

    @property
    def pending(self) -> list[RequestedTask]:
        """Tasks whose suggestion is not ready."""
        return [requested for requested in self.tasks if self.is_pending(requested)]

    def is_pending(self, requested: RequestedTask) -> bool:
        """Whether an image of the task has a transient error."""
        return bool(self.transient_errors) and any(
            image.key in self.transient_errors for image in requested.images
        )

    def changed(self, requested: RequestedTask) -> bool:
        """Whether the task is not stored yet, or is stored with other images."""
        for image in requested.images:
            stored = self.stored_tasks.get(image.unit)
            if stored is None or stored.uri != image.uri:
                return True
        return unit_of(requested.task.ls_id, len(requested.images)) in self.stored_tasks

    def suggest(self, min_confidence: float) -> None:
        """Compute the suggestions of all tasks whose embeddings are there."""
        rows: list[tuple[RequestedTask, int, Float16s]] = []
        for requested in self.tasks:
            if requested.position not in self.suggestions:
                rows += [(requested, *row) for row in self._rows(requested)]
        for part in parts_of(rows, ROWS, lambda row: row[0].position):
            x = np.stack([vector for _, _, vector in part])
            reads = self.config.reads_task_data
            data = [requested.task.data for requested, _, _ in part] if reads else None
            positions = [(requested.position, item) for requested, item, _ in part]
            self.suggestions |= suggest_together(
                self.predictor, self.config, positions, x, min_confidence, data
            )

    def _rows(self, requested: RequestedTask) -> list[tuple[int, Float16s]]:
        """(item, embedding) of a task's units, once all of its images are embedded."""
        usable = [image for image in requested.images if image.key not in self.permanent_errors]
        embedded = {
            image.item: self.vectors[image.key] for image in usable if image.key in self.vectors
        }
        return unit_vectors(self.config, embedded) if len(embedded) == len(usable) else []

    def prediction_items(self) -> dict[int, PredictionItem]:
        """{position: the prediction that Label Studio gets}."""
        return {requested.position: self._item(requested) for requested in self.tasks}

    def _item(self, requested: RequestedTask) -> PredictionItem:
        task = requested.task.ls_id
        suggestion = self.suggestions.get(requested.position)
        confidence = suggestion.confidence if suggestion else 1.0
        if not math.isfinite(confidence):  # Label Studio would drop the whole batch
            suggestion, confidence = None, 1.0
        if suggestion and in_control_group(self.project, task, self.blind_share):
            suggestion = withheld(suggestion)
        shortlist_score = self.shortlist_scores.get(task) if suggestion else None
        score = rest_score(confidence) if shortlist_score is None else shortlist_score
        return prediction_item(task, score, suggestion or NOTHING)
