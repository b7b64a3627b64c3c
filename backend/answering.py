"""One request to /predict under way: what is known of its tasks, and what each is given."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.asking import PredictRequest, Question
from backend.inference_client import Embedded
from store.projects import Project
from store.publications import Item
from store.tasks import Task
from store.versions import Version
from studio.config import LabelConfig
from worker.blind import is_blind, withheld
from worker.predictor import Predictor, Suggestion, rest_score, shortlist_score

ROWS = 2000  # embeddings multiplied at a time
NOTHING = Suggestion([], 1.0)

Vectors = dict[int, npt.NDArray[np.float16]]  # by position in the request


@dataclass
class Answering:
    """One request under way."""

    request: PredictRequest
    project: Project
    version: Version
    config: LabelConfig
    predictor: Predictor
    questions: list[Question]
    ranks: dict[int, int]  # {task: its place in the shortlist}
    known: dict[int, Task]
    blind_share: float
    suggestions: dict[int, Suggestion] = field(default_factory=dict)  # by position, as the next two
    broken: dict[int, str] = field(default_factory=dict)
    passing: dict[int, str] = field(default_factory=dict)
    fresh: dict[int, Embedded] = field(default_factory=dict)  # embedded for this request

    @property
    def missing(self) -> list[Question]:
        """Questions without an answer yet."""
        return [
            question
            for question in self.questions
            if question.position not in self.suggestions
            and question.position not in self.broken
            and question.position not in self.passing
        ]

    def changed(self, question: Question) -> bool:
        """Whether the task is new to us, or shows another image than the one that we know."""
        known = self.known.get(question.task.ls_id)
        return known is None or known.uri != question.task.uri

    def suggest(self, vectors: Vectors, min_confidence: float) -> None:
        """Take the embeddings into account."""
        positions = list(vectors)
        data = self._data() if self.config.reads_task_data else None
        for start in range(0, len(positions), ROWS):
            part = positions[start : start + ROWS]
            x = np.stack([vectors[position] for position in part])
            offered = None if data is None else [data[position] for position in part]
            suggested = self.predictor.suggest(self.config, x, min_confidence, offered)
            self.suggestions.update(zip(part, suggested, strict=True))

    def _data(self) -> dict[int, Mapping[str, Any]]:
        return {question.position: question.task.data for question in self.questions}

    def items(self) -> dict[int, Item]:
        """{position: what Label Studio is given for it}."""
        return {q.position: self._item(q) for q in self.questions}

    def _item(self, question: Question) -> Item:
        task = question.task.ls_id
        suggestion = self.suggestions.get(question.position)
        confidence = suggestion.confidence if suggestion else 1.0
        if not math.isfinite(confidence):  # Label Studio would drop the whole batch
            suggestion, confidence = None, 1.0
        if suggestion and is_blind(self.project, task, self.blind_share):
            suggestion = withheld(suggestion)
        rank = self.ranks.get(task) if suggestion else None
        score = rest_score(confidence) if rank is None else shortlist_score(rank, len(self.ranks))
        shown = suggestion or NOTHING
        return Item(task, score, shown.result, shown.withheld)
