"""One request to /predict under way: what is known of its tasks, and what each is given."""

import math
from dataclasses import dataclass, field

import numpy as np

from backend.inference.client import Embedded
from backend.protocol.predict_request import AskedImage, ImageKey, Question
from model.arrays import Float16s
from services.embedding.vectors import unit_vectors
from services.labels.multi_image import parts_of
from services.suggestions.control_group import is_blind, withheld
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
class Answering:
    """One request under way."""

    request: PredictRequest
    project: Project
    version: Version
    config: LabelConfig
    predictor: Predictor
    questions: list[Question]
    listed: dict[TaskId, float]  # {task of the shortlist: its score}
    known: dict[UnitId, Task]
    blind_share: float
    suggestions: dict[int, Suggestion] = field(default_factory=dict)  # by position
    # By an image's key, as all that follow.
    vectors: dict[ImageKey, Float16s] = field(default_factory=dict)
    broken: dict[ImageKey, str] = field(default_factory=dict)
    passing: dict[ImageKey, str] = field(default_factory=dict)
    fresh: dict[ImageKey, Embedded] = field(default_factory=dict)  # embedded for this request

    @property
    def missing(self) -> list[AskedImage]:
        """Images of which nothing is known yet."""
        found = (self.vectors, self.broken, self.passing)
        return [
            image
            for question in self.questions
            if question.position not in self.suggestions
            for image in question.images
            if not any(image.key in of_kind for of_kind in found)
        ]

    @property
    def hopeless(self) -> list[Question]:
        """Questions of whose task no image can ever be used."""
        if not self.broken:
            return []
        return [q for q in self.questions if all(image.key in self.broken for image in q.images)]

    @property
    def owed(self) -> list[Question]:
        """Questions whose answer is not ready."""
        return [q for q in self.questions if self.waits(q)]

    def waits(self, question: Question) -> bool:
        """Whether an image of its task can't be read now."""
        return bool(self.passing) and any(image.key in self.passing for image in question.images)

    def changed(self, question: Question) -> bool:
        """Whether the task is new to us, or shows other images than those that we know."""
        for image in question.images:
            known = self.known.get(image.unit)
            if known is None or known.uri != image.uri:
                return True
        return unit_of(question.task.ls_id, len(question.images)) in self.known

    def suggest(self, min_confidence: float) -> None:
        """Answer what can be answered by the embeddings that are there."""
        rows: list[tuple[Question, int, Float16s]] = []
        for question in self.questions:
            if question.position not in self.suggestions:
                rows += [(question, *row) for row in self._rows(question)]
        for part in parts_of(rows, ROWS, lambda row: row[0].position):
            x = np.stack([vector for _, _, vector in part])
            reads = self.config.reads_task_data
            data = [question.task.data for question, _, _ in part] if reads else None
            asked = [(question.position, item) for question, item, _ in part]
            self.suggestions |= suggest_together(
                self.predictor, self.config, asked, x, min_confidence, data
            )

    def _rows(self, question: Question) -> list[tuple[int, Float16s]]:
        """(item, embedding) of what is asked of a task, once all of its images are there."""
        usable = [image for image in question.images if image.key not in self.broken]
        there = {
            image.item: self.vectors[image.key] for image in usable if image.key in self.vectors
        }
        return unit_vectors(self.config, there) if len(there) == len(usable) else []

    def items(self) -> dict[int, PredictionItem]:
        """{position: what Label Studio is given for it}."""
        return {q.position: self._item(q) for q in self.questions}

    def _item(self, question: Question) -> PredictionItem:
        task = question.task.ls_id
        suggestion = self.suggestions.get(question.position)
        confidence = suggestion.confidence if suggestion else 1.0
        if not math.isfinite(confidence):  # Label Studio would drop the whole batch
            suggestion, confidence = None, 1.0
        if suggestion and is_blind(self.project, task, self.blind_share):
            suggestion = withheld(suggestion)
        listed = self.listed.get(task) if suggestion else None
        score = rest_score(confidence) if listed is None else listed
        return prediction_item(task, score, suggestion or NOTHING)
