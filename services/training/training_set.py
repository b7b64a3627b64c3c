"""The labelled units that heads are fitted and evaluated on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.annotators.vote_matrix import VoteMatrix
from model.arrays import Floats, Int64s
from model.statistics.near_duplicates import near_duplicate_groups
from model.targets.kind import kind_of, learning_of, value_json
from model.targets.schema import Value, schema_json
from model.training.control import ControlData
from services.embedding.vectors import load_vectors
from services.labels.aggregation import Labels
from services.labels.class_history import Since, class_history
from services.labels.votes import Votes, newest_votes
from services.snapshot import Snapshot
from store.store import Store
from store.tasks.units import UnitId, item_of, task_of
from studio.config import LabelConfig
from studio.controls import Control


@dataclass(frozen=True)
class TrainingSet:
    """Labelled, embedded units: `tasks` [N], their embeddings `x` [N, D] and labels.

    A unit (`store.units`) is a task's image, or all images of a task together. Those of one task
    are always on one side of an evaluation.
    """

    tasks: Int64s
    image_keys: Sequence[str]
    x: Floats
    labels: Labels
    holdout: frozenset[UnitId]
    space: str
    tuned: bool = False  # whether the backbone was fitted on labels of these very tasks
    labelled_at: Mapping[UnitId, float] = field(default_factory=dict)  # of the newest annotation
    since: Since = field(default_factory=dict)  # when classes came that were not there at first
    votes: Votes = field(default_factory=dict)  # who gave the labels
    pretrained: Floats | None = None  # [N, D'] of a backbone that has not seen them, when tuned
    notes: tuple[str, ...] = ()  # on the labels, for people

    @property
    def units(self) -> list[UnitId]:
        """The units [N] of the rows."""
        return [UnitId(unit) for unit in self.tasks.tolist()]

    def digest(self, config: LabelConfig) -> str:
        """A hash of the training data: the same digest gives the same heads."""
        labelled = [
            [unit, key, self._plain(unit, config)]
            for unit, key in zip(self.units, self.image_keys, strict=True)
        ]
        schemas = [[control.name, schema_json(control.schema)] for control in config.controls]
        parts = [
            self.space,
            schemas,
            sorted(labelled),
            sorted(self.holdout),
            *self._several_votes(config),
        ]
        text = json.dumps(parts)
        return hashlib.sha256(text.encode()).hexdigest()

    def _plain(self, unit: UnitId, config: LabelConfig) -> list[Any]:
        labels = self.labels[unit]
        return [
            [name, _json(config, name, labels[name]), sorted(self._later_classes(unit, name))]
            for name in sorted(labels)
        ]

    def _later_classes(self, unit: UnitId, control: str) -> list[str]:
        """The classes of a control that were added after the unit was labelled."""
        at = self.labelled_at.get(unit, 0.0)
        return [name for name, since in self.since.get(control, {}).items() if at < since]

    def _several_votes(self, config: LabelConfig) -> list[list[Any]]:
        """The votes of units with several, as these determine the soft labels."""
        return [
            [unit, name, vote.annotator or 0, _json(config, name, vote.value), vote.ground_truth]
            for unit in sorted(self.units)
            for name, votes in sorted(self.votes.get(unit, {}).items())
            for vote in votes
            if len(votes) > 1
        ]

    def groups(self) -> Int64s:
        """The near-duplicate group of each row [N].

        Fine-tuned features bring all images of a class so near to one another that pretrained ones
        are compared, or where these are missing only equal bytes count.
        """
        x = self.x
        if self.tuned:
            x = self.x[:0] if self.pretrained is None else self.pretrained
        return near_duplicate_groups(x, self.image_keys, list(map(task_of, self.units)))

    def of_control(self, control: Control, groups: Int64s) -> ControlData:
        """The rows that have a label of this control; `groups` [N] are of all rows."""
        units = self.units
        values = [self.labels[unit].get(control.name) for unit in units]
        encoded = kind_of(control.schema).encode(control.schema, values)
        rows = encoded.rows
        at = np.array([self.labelled_at.get(units[row], 0.0) for row in rows])
        since = self.since.get(control.name, {})
        encoded = learning_of(encoded).mask_unasked(encoded, since, at)
        present = [value for value in values if value is not None]
        votes = [self.votes.get(units[row], {}).get(control.name, ()) for row in rows]
        return ControlData(
            control.schema,
            self.tasks[rows],
            self.x[rows],
            groups[rows],
            encoded,
            present,
            VoteMatrix(votes) if self.votes else None,
            None if self.pretrained is None else self.pretrained[rows],
        )


def _json(config: LabelConfig, name: str, value: Value) -> Any:
    control = config.control(name)
    assert control is not None, "labels are read by the config's own controls"
    return value_json(control.schema, value)


def training_set(store: Store, snapshot: Snapshot) -> TrainingSet:
    """Read the labelled, embedded units of a snapshot."""
    labelled = [
        task
        for task in snapshot.tasks
        if task.unit in snapshot.labels and task.embedded_space == snapshot.space
    ]
    embedded, x = load_vectors(store, snapshot.space, labelled)
    newest = {a.task_ls_id: a.updated_at for a in snapshot.annotations}  # the newest comes last
    return TrainingSet(
        tasks=np.array([task.unit for task in embedded], np.int64),
        image_keys=[str(task.image_key) for task in embedded],
        x=x,
        labels=snapshot.labels,
        holdout=frozenset(task.unit for task in embedded if task.split == "holdout"),
        space=snapshot.space,
        labelled_at={task.unit: newest.get(task.ls_id, 0.0) for task in embedded},
        since=class_history(store, snapshot.project.id, snapshot.config),
        votes=newest_votes(snapshot.votes),
        notes=_lost_labels(snapshot),
    )


def _lost_labels(snapshot: Snapshot) -> tuple[str, ...]:
    """Notes on labels of images that their tasks no longer show."""
    if not snapshot.config.multi_image:
        return ()
    there, tasks = {task.unit for task in snapshot.tasks}, {task.ls_id for task in snapshot.tasks}
    lost = [unit for unit in snapshot.labels if unit not in there and task_of(unit) in tasks]
    if not lost:
        return ()
    count = "1 label is" if len(lost) == 1 else f"{len(lost)} labels are"
    return (
        f"{count} of images that their tasks don't show (any more), such as image "
        f"{item_of(lost[0]) + 1} of task {task_of(lost[0])}: left out",
    )
