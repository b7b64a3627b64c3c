"""From labels and embeddings to fitted heads that are measured, calibrated and compared."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from model.evaluation.cross_validation import Accuracy, accuracy
from model.evaluation.head_selection import Selection
from model.statistics.near_duplicates import near_duplicate_groups
from model.targets.encoding import encode, plain_target, plain_value
from model.targets.registry import pack
from model.targets.schema import Value
from model.training.control import ControlData, ControlResult, fit_control
from services.labels.aggregation import Labels
from services.labels.class_history import Since, leave_unsaid
from services.labels.votes import Ballot, Votes
from services.suggestions.predictor import Predictor
from store.files.artifacts import Arrays, Artifact
from store.tasks.units import task_of
from studio.config import LabelConfig
from studio.controls import Control

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

HOLDOUT_FROM = 300  # labels: below, withholding some costs more than it tells
HOLDOUT_SHARE = 0.2  # of the labels, of those that may be held out at all
OUTPUTS_KEPT = 2_000_000  # numbers: 4 MB of each control's outputs out of fold, for the next gate
HOLDOUT_LEAST = 60  # held-out labels that say more than out-of-fold evaluation does


@dataclass(frozen=True)
class TrainingSet:
    """Labelled, embedded units: `tasks` [N], their embeddings `x` [N, D] and labels.

    A unit (`store.units`) is a task's image, or all images of a task together. Those of one task
    are always on one side of an evaluation.
    """

    tasks: Ints
    image_keys: Sequence[str]
    x: Floats
    labels: Labels
    holdout: frozenset[int]
    space: str
    tuned: bool = False  # whether the backbone was fitted on labels of these very tasks
    labelled_at: Mapping[int, float] = field(default_factory=dict)  # {unit: its newest annotation}
    since: Since = field(default_factory=dict)  # when classes came that were not there at first
    votes: Votes = field(default_factory=dict)  # who gave the labels
    pretrained: Floats | None = None  # [N, D'] of a backbone that has not seen them, when tuned
    notes: tuple[str, ...] = ()  # on the labels, for people

    def digest(self, config: LabelConfig) -> str:
        """What a version was trained on, as a hash: the same digest gives the same heads."""
        known = [
            [int(task), key, self._plain(int(task))]
            for task, key in zip(self.tasks, self.image_keys, strict=True)
        ]
        schemas = [[control.name, plain_target(control.schema)] for control in config.controls]
        parts = [self.space, schemas, sorted(known), sorted(self.holdout), *self._disputes()]
        text = json.dumps(parts)
        return hashlib.sha256(text.encode()).hexdigest()

    def _plain(self, task: int) -> list[Any]:
        labels = self.labels[task]
        return [
            [control, plain_value(labels[control]), sorted(self._unsaid(task, control))]
            for control in sorted(labels)
        ]

    def _unsaid(self, task: int, control: str) -> list[str]:
        """The classes of a control that came after the task's label."""
        at = self.labelled_at.get(task, 0.0)
        return [name for name, since in self.since.get(control, {}).items() if at < since]

    def _disputes(self) -> list[list[Any]]:
        """What soft labels are made of: the votes where a task has several."""
        return [
            [int(task), control, vote.annotator or 0, plain_value(vote.value), vote.ground_truth]
            for task in sorted(self.tasks.tolist())
            for control, votes in sorted(self.votes.get(int(task), {}).items())
            for vote in votes
            if len(votes) > 1
        ]

    def groups(self) -> Ints:
        """Near-duplicate groups [N]. Fine-tuned features bring all images of a class so near to
        one another that pretrained ones are asked, or else only equal bytes count.
        """
        x = self.x
        if self.tuned:
            x = self.x[:0] if self.pretrained is None else self.pretrained
        return near_duplicate_groups(x, self.image_keys, list(map(task_of, self.tasks.tolist())))

    def of_control(self, control: Control, groups: Ints) -> ControlData:
        """The rows that have a label of this control; `groups` [N] are of all rows."""
        values = [self.labels[int(task)].get(control.name) for task in self.tasks]
        encoded = encode(control.schema, values)
        rows = encoded.rows
        at = np.array([self.labelled_at.get(int(task), 0.0) for task in self.tasks[rows]])
        encoded = leave_unsaid(encoded, self.since.get(control.name, {}), at)
        known = [value for value in values if value is not None]
        votes = [self.votes.get(int(task), {}).get(control.name, ()) for task in self.tasks[rows]]
        return ControlData(
            control.schema,
            self.tasks[rows],
            self.x[rows],
            groups[rows],
            encoded,
            known,
            Ballot(votes) if self.votes else None,
            None if self.pretrained is None else self.pretrained[rows],
        )


@dataclass(frozen=True)
class Trained:
    """All heads of a candidate. `untrained` says, by control, why it has none."""

    results: dict[str, ControlResult]
    untrained: dict[str, str]
    held_out: bool
    notes: tuple[str, ...] = ()  # on the labels, for people

    @property
    def accuracy(self) -> Accuracy:
        """Over all controls together: the share of answers that need no change."""
        return accuracy(np.concatenate([r.correct for r in self.results.values()]))

    @property
    def hardest(self) -> str:
        """The control with the lowest accuracy."""
        return min(self.results, key=lambda name: self.results[name].accuracy.value)

    def predictor(self, space: str) -> Predictor:
        """The heads, ready to answer."""
        return Predictor({name: result.head for name, result in self.results.items()}, space)

    def metrics(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "accuracy": vars(self.accuracy),
            "evaluation": "hold-out" if self.held_out else "out of fold",
            "controls": {name: result.metrics() for name, result in self.results.items()},
            "untrained": self.untrained,
            "notes": list(self.notes),
        }

    def artifact(self, space: str, digest: str) -> Artifact:
        """The heads with what they predicted for unseen tasks: the next gate compares with it."""
        unseen: Arrays = {}
        for name, result in self.results.items():
            unseen[f"unseen/{name}/tasks"] = result.unseen.tasks
            unseen[f"unseen/{name}/predicted"] = pack(result.head, result.predicted)
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
    earlier: Mapping[str, Any] | None = None,
    kinds: Sequence[str] | None = None,
) -> Trained:
    """Fit, evaluate and calibrate a head for every control whose labels differ.

    `kinds` are the kinds of head to choose among where one class each is learned, all of them
    without it; what the `earlier` version's metrics say of it is kept until the labels have grown.
    UnknownNameError for a kind that there is not.
    """
    # Features that have seen the labels can be measured on a hold-out alone, however small.
    held_out = len(data.holdout) >= (1 if data.tuned else HOLDOUT_LEAST)
    holdout = data.holdout if held_out else frozenset[int]()
    groups = data.groups()
    results: dict[str, ControlResult] = {}
    untrained: dict[str, str] = {}
    notes = list(data.notes)
    for control in config.controls:
        rows = data.of_control(control, groups)
        reason = rows.labels.reason
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


def _selection(metrics: Mapping[str, Any], control: str) -> Selection | None:
    """What a version's metrics say of how the control's kind of head was chosen."""
    try:
        return Selection.from_json(metrics["controls"][control]["selection"])
    except (KeyError, TypeError):  # the version has none, or is older
        return None


def _contradictions(control: str, rows: ControlData, data: TrainingSet) -> list[str]:
    """What to say when tasks that show the very same image are labelled differently."""
    key_of = dict(zip(data.tasks.tolist(), data.image_keys, strict=True))
    labels: dict[str, dict[Value, int]] = {}
    for task, value in zip(rows.tasks.tolist(), rows.values, strict=True):
        labels.setdefault(key_of[task], {}).setdefault(value, task)
    differing = [by_label for by_label in labels.values() if len(by_label) > 1]
    if not differing:
        return []
    first, second, *_ = differing[0].values()
    count = "1 image is" if len(differing) == 1 else f"{len(differing)} images are"
    return [
        f"{control}: {count} in several tasks that are labelled differently, "
        f"such as tasks {task_of(first)} and {task_of(second)}"
    ]


def extend_holdout(data: TrainingSet, eligible: Mapping[int, bool], *, seed: int) -> frozenset[int]:
    """What to hold out from now on, whole near-duplicate groups at a time.

    Args:
        eligible: {task: whether it is ground truth} of labels that nobody chose for being hard.

    Returns:
        Their units.
    """
    wanted = int(HOLDOUT_SHARE * len(data.tasks)) - len(data.holdout)
    if len(data.tasks) < HOLDOUT_FROM or wanted <= 0:
        return frozenset()
    groups = data.groups()
    members: dict[int, list[int]] = {}
    for unit, group in zip(data.tasks, groups, strict=True):
        members.setdefault(int(group), []).append(int(unit))
    free = [
        group
        for group, units in members.items()
        if all(task_of(unit) in eligible and unit not in data.holdout for unit in units)
    ]
    rng = np.random.default_rng(seed)
    order = sorted(free, key=lambda g: (not eligible[task_of(members[g][0])], rng.random()))
    taken: list[int] = []
    for group in order:
        if len(taken) >= wanted:
            break
        taken += members[group]
    return frozenset(taken)
