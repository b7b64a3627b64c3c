"""Applies a version's heads to embeddings and writes Label Studio's regions. Numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.arrays import Float32s, Floats
from model.targets.kind import fits, get_kind
from model.targets.learned import Learned
from model.targets.single import CalibratedHead
from services.suggestions.queue_order import place_after, rest_score, shortlist_score
from store.files.artifacts import Arrays, Artifact
from store.store import Store
from store.tasks.units import FIRST
from store.versions.versions import Version
from studio.config import LabelConfig
from studio.controls import Control
from studio.regions import StudioRegion

__all__ = [
    "CalibratedHead",
    "Predictor",
    "Suggestion",
    "place_after",
    "rest_score",
    "shortlist_score",
]

TaskData = Mapping[str, Any]

FORMAT = 1  # of the artifact; raised when an older reader can't read it

NO_CLASS: frozenset[str] = frozenset()  # an answer that has no region


@dataclass(frozen=True)
class Suggestion:
    """The suggestion for a task; `result` is empty below the least confidence."""

    result: list[StudioRegion]
    confidence: float  # of the least sure control, 0 to 1
    # {control: where nine of ten truths are}, of numbers
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    withheld: list[StudioRegion] | None = None  # in the control group, in place of the result


class Predictor:
    """The heads of one version, by control."""

    def __init__(self, heads: Mapping[str, Learned], space: str) -> None:
        self.heads = dict(heads)
        self.space = space

    @classmethod
    def load(cls, store: Store, version: Version) -> "Predictor":
        """Read the version's artifact. A start version has no heads.

        Raises:
            ArtifactError: it is missing or damaged.
        """
        if version.artifact is None:
            return cls({}, version.embedding_space)
        return cls.of_artifact(store.artifacts.load(version.artifact), version.embedding_space)

    @classmethod
    def of_artifact(cls, artifact: Artifact, space: str) -> "Predictor":
        """Make the predictor of an artifact's heads."""
        heads = {}
        for entry in artifact.manifest["heads"]:
            prefix = f"head/{entry['control']}/"
            arrays = {
                name.removeprefix(prefix): array
                for name, array in artifact.arrays.items()
                # A control's name may itself have slashes, those of arrays have none.
                if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
            }
            kind = get_kind(entry.get("form", "single"))
            head = kind.load_head(entry["kind"], tuple(entry["classes"]), arrays)
            heads[entry["control"]] = kind.load(head, entry)
        return cls(heads, space)

    def artifact(self, manifest: Mapping[str, Any], more: Arrays) -> Artifact:
        """The heads as an artifact that `load` reads, with `manifest` and `more` arrays beside."""
        arrays = more | {
            f"head/{control}/{name}": array
            for control, learned in self.heads.items()
            for name, array in learned.head.arrays().items()
        }
        entries = [
            {
                "control": control,
                "kind": learned.head.kind,
                "classes": list(learned.head.classes),
            }
            | learned.settings()
            for control, learned in self.heads.items()
        ]
        own = {"format": FORMAT, "heads": entries, "space": self.space}
        return Artifact(arrays, dict(manifest) | own)

    def suggest(
        self,
        config: LabelConfig,
        x: Floats,
        min_confidence: float,
        data: Sequence[TaskData] | None = None,
        items: Sequence[int] | None = None,
    ) -> list[Suggestion]:
        """Make suggestions for embeddings [N, D], in order.

        Only what the label config still has is suggested, and, where a control's classes come with
        the tasks, what the task's own `data` [N] offers for the image at `items` [N]. A control
        whose answer is less probable than `min_confidence` is left out.
        """
        results: list[list[StudioRegion]] = [[] for _ in x]
        intervals: list[dict[str, tuple[float, float]]] = [{} for _ in x]
        confidence: Float32s = np.ones(len(x), np.float32)
        learned_any = False
        for control in config.controls:
            learned = self.learned(control)
            if learned is None or not len(x):
                continue
            learned_any = True
            offers = None
            if data is not None:
                asked = zip(data, items or [FIRST] * len(data), strict=True)
                offers = [control.offered(of_task, item) for of_task, item in asked]
                offers = None if all(offer is None for offer in offers) else offers
            answers = learned.answers(x, control.schema, least=min_confidence, offers=offers)
            confident = np.array([answer.confidence for answer in answers], np.float32)
            confidence = np.fmin(confidence, confident)
            for row, answer in enumerate(answers):
                if answer.interval is not None:
                    intervals[row][control.name] = answer.interval
                value = answer.value
                if value is not None and value != NO_CLASS and answer.score >= min_confidence:
                    score = round(min(max(answer.score, 0.0), 1.0), 4)
                    results[row] += control.write(value, score)
        if not learned_any:
            confidence[:] = 0
        return [
            Suggestion(result, sure, of_numbers)
            for result, sure, of_numbers in zip(
                results, confidence.tolist(), intervals, strict=True
            )
        ]

    def learned(self, control: Control) -> Learned | None:
        """The control's head, if it still fits the control's schema."""
        learned = self.heads.get(control.name)
        return learned if learned is not None and fits(learned, control.schema) else None
