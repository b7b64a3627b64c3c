"""Trains the heads of a version: fits, calibrates and evaluates each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from model.evaluation.head_selection import Selection
from model.statistics.intervals import Estimate, wilson_interval
from model.targets.kind import kind_of, learning_of
from model.targets.schema import Value
from model.training.control import ControlData, ControlResult, fit_control
from services.suggestions.predictor import Predictor
from services.training.holdout import evaluates_on_holdout
from services.training.training_set import TrainingSet
from store.files.artifacts import Arrays, Artifact
from store.tasks.units import UnitId, task_of
from store.versions.version_metrics import ControlMetrics, EstimateJson, VersionMetrics
from studio.config import LabelConfig

OUTPUTS_KEPT = 2_000_000  # numbers: 4 MB of each control's outputs out of fold, for the next gate


@dataclass(frozen=True)
class Trained:
    """All heads of a candidate. `untrained` holds, by control, why it has none."""

    results: dict[str, ControlResult]
    untrained: dict[str, str]
    held_out: bool
    notes: tuple[str, ...] = ()  # on the labels, for people

    @property
    def accuracy(self) -> Estimate:
        """The share of right answers over all controls."""
        return wilson_interval(np.concatenate([r.correct for r in self.results.values()]))

    @property
    def hardest(self) -> str:
        """The control with the lowest accuracy."""
        return min(self.results, key=lambda name: self.results[name].accuracy.value)

    def predictor(self, space: str) -> Predictor:
        """The predictor of these heads."""
        return Predictor({name: result.head for name, result in self.results.items()}, space)

    def metrics(self) -> VersionMetrics:
        """The metrics, to be stored with the version."""
        controls = {name: result.metrics() for name, result in self.results.items()}
        accuracy = self.accuracy
        return VersionMetrics(
            accuracy=EstimateJson(
                value=accuracy.value, low=accuracy.low, high=accuracy.high, n=accuracy.n
            ),
            evaluation="hold-out" if self.held_out else "out of fold",
            controls=cast(dict[str, ControlMetrics], controls),  # the model knows no store
            untrained=self.untrained,
            notes=list(self.notes),
        )

    def artifact(self, space: str, digest: str) -> Artifact:
        """The heads with their predictions for unseen tasks, which the next gate compares."""
        unseen: Arrays = {}
        for name, result in self.results.items():
            unseen[f"unseen/{name}/tasks"] = result.unseen.tasks
            unseen[f"unseen/{name}/predicted"] = learning_of(result.head).pack(
                result.target, result.head.head.classes, result.predicted
            )
            if not self.held_out and result.outputs.size <= OUTPUTS_KEPT:
                outputs = np.asarray(result.outputs, np.float16)
                unseen[f"unseen/{name}/outputs"] = outputs
        return self.predictor(space).artifact(
            {"labels_digest": digest, "metrics": self.metrics()}, unseen
        )


def train(
    data: TrainingSet,
    config: LabelConfig,
    *,
    seed: int,
    served: Predictor | None,
    earlier: VersionMetrics | None = None,
    kinds: Sequence[str] | None = None,
) -> Trained:
    """Fit, evaluate and calibrate a head for every control whose labels differ.

    `kinds` are the kinds of head to choose among where one class each is learned, all of them
    without it; what the `earlier` version's metrics say of it is kept until the labels have grown.
    UnknownNameError for a kind that there is not.
    """
    held_out = evaluates_on_holdout(data)
    holdout = data.holdout if held_out else frozenset[int]()
    groups = data.groups()
    results: dict[str, ControlResult] = {}
    untrained: dict[str, str] = {}
    notes = list(data.notes)
    for control in config.controls:
        rows = data.of_control(control, groups)
        reason = rows.learning.reason(rows.labels)
        if reason is None and len(np.unique(rows.groups)) < 2:
            reason = "all labelled images are copies of one"
        if reason is not None:
            untrained[control.name] = f"{control.name}: {reason}"
            continue
        notes += _contradictions(control.name, rows, data)
        warm = served.learned(control) if served else None
        results[control.name] = fit_control(
            rows,
            holdout,
            seed=seed,
            warm=warm,
            tuned=data.tuned,
            last=_selection(earlier or {}, control.name),
            kinds=kinds,
        )
    return Trained(results, untrained, held_out, tuple(notes))


def _selection(metrics: VersionMetrics, control: str) -> Selection | None:
    """The stored selection of the control's kind of head; None without one."""
    stored = metrics.get("controls", {}).get(control, {}).get("selection")
    try:
        return Selection.from_json(stored) if stored else None
    except (KeyError, TypeError):  # the version is older
        return None


def _contradictions(control: str, rows: ControlData, data: TrainingSet) -> list[str]:
    """Notes on identical images with different labels."""
    key_of = dict(zip(data.units, data.image_keys, strict=True))
    labels: dict[str, list[tuple[Value, UnitId]]] = {}
    for unit, value in zip(map(UnitId, rows.tasks.tolist()), rows.values, strict=True):
        labels.setdefault(key_of[unit], []).append((value, unit))
    kind = kind_of(rows.target)
    differing: list[tuple[UnitId, UnitId]] = []
    for (value, unit), *others in labels.values():
        if not others:
            continue
        values = [other for other, _ in others]
        same = kind.agrees(rows.target, [value] * len(values), values)
        if not same.all():
            differing.append((unit, others[int(same.argmin())][1]))
    if not differing:
        return []
    first, second = differing[0]
    count = "1 image is" if len(differing) == 1 else f"{len(differing)} images are"
    return [
        f"{control}: {count} in several tasks that are labelled differently, "
        f"such as tasks {task_of(first)} and {task_of(second)}"
    ]
