"""Fits, calibrates and evaluates the head of one control."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from model.annotators.vote_matrix import VoteMatrix
from model.arrays import Bools, Floats, Int64s, Ints
from model.evaluation.head_selection import Selection
from model.heads import FitData, Head
from model.statistics.intervals import Estimate, wilson_interval
from model.targets.kind import TargetKind, kind_of, learning_of, same_kind
from model.targets.labels import EncodedLabels, SoftLabels
from model.targets.learned import Learned
from model.targets.schema import TargetSchema, Value


@dataclass(frozen=True)
class ControlData:
    """The labelled rows of one control: tasks [N], embeddings [N, D], near-duplicate groups [N].

    `pretrained` [N, D'] are embeddings that have not seen the labels, where those of `x` have.
    """

    target: TargetSchema
    tasks: Int64s
    x: Floats
    groups: Int64s
    labels: EncodedLabels  # of these rows
    values: list[Value]
    votes: VoteMatrix | None = None  # of the annotators who gave them
    pretrained: Floats | None = None

    @property
    def learning(self) -> TargetKind[Any, Any]:
        """The kind that learns these labels."""
        return learning_of(self.labels)

    @property
    def leak_free(self) -> Floats:
        """[N, D'] embeddings that have not seen the labels, if there are any."""
        return self.x if self.pretrained is None else self.pretrained

    @property
    def strata(self) -> Ints:
        """[N] by which rows are spread evenly over folds."""
        return self.learning.strata(self.labels)

    def part(self, rows: Bools) -> "ControlData":
        """Some of the rows."""
        kept = np.flatnonzero(rows)
        return ControlData(
            self.target,
            self.tasks[kept],
            self.x[kept],
            self.groups[kept],
            self.labels.part(kept),
            [self.values[row] for row in kept],
            self.votes and self.votes.part(kept),
            None if self.pretrained is None else self.pretrained[kept],
        )

    def joined(self, other: "ControlData") -> "ControlData":
        """These rows and then others."""
        votes = None
        if self.votes is not None and other.votes is not None:
            votes = VoteMatrix([*self.votes.rows, *other.votes.rows])
        return ControlData(
            self.target,
            np.concatenate([self.tasks, other.tasks]),
            np.concatenate([self.x, other.x]),
            np.concatenate([self.groups, other.groups]),
            self.labels.joined(other.labels),
            self.values + other.values,
            votes,
        )

    def with_labels(self, labels: EncodedLabels) -> "ControlData":
        """The same rows with these labels."""
        if labels is self.labels:
            return self
        changed = labels.y != self.labels.y
        rows = np.flatnonzero(changed.any(axis=tuple(range(1, changed.ndim))))
        values = self.values.copy()
        decoded = self.learning.decode(self.target, labels.names, labels.y[rows])
        for row, value in zip(rows, decoded, strict=True):
            values[row] = value
        return replace(self, labels=labels, values=values)

    def fit_data(self, x: Floats, labels: EncodedLabels, *, seed: int) -> FitData:
        """The data to fit a head on: these labels of the rows with features x [N, D]."""
        return FitData.of(x, labels.y, labels.names, seed=seed, groups=self.groups)


@dataclass(frozen=True)
class ControlResult:
    """One control's head, and its outputs for tasks that it had not seen.

    `correct` [M]: an annotator would have changed nothing, by the kind's `agrees`.
    """

    head: Learned
    unseen: ControlData  # [M] rows that were evaluated
    outputs: Floats  # [M, C] of the head, or of one like it, before calibration
    predicted: list[Value]  # [M]
    correct: Bools  # [M]
    accuracy: Estimate
    measures: dict[str, Any]  # more of them, by the kind of target, as JSON
    out_of_fold: ControlData  # [K] all rows with outputs of a head that had not seen them
    out_of_fold_outputs: Floats  # [K, C]
    selection: Selection | None  # why this kind of head, where there was a choice

    @property
    def target(self) -> TargetSchema:
        """The schema of what is learned."""
        return self.unseen.target

    def metrics(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "accuracy": vars(self.accuracy),
            "classes": list(self.head.head.classes),
            "head": self.head.head.kind,
            "selection": self.selection and self.selection.as_json(),
            "measures": self.measures,
        } | self.head.settings()


def fit_control(
    data: ControlData,
    holdout: frozenset[int],
    *,
    seed: int,
    warm: Learned | None,
    tuned: bool,
    last: Selection | None = None,
    kinds: Sequence[str] | None = None,
) -> ControlResult:
    """Fit on all rows but those held out, and evaluate on these; without any, out of fold.

    `tuned` says that the embedding has seen the labels: then out-of-fold outputs leak, calibration
    is by the hold-out too, and the kind of head is the one that such features are made for. `last`
    is the kind chosen before, `kinds` those to choose among.
    """
    learning = data.learning
    held = np.array([int(task) in holdout for task in data.tasks], np.bool_)
    tied = np.isin(data.groups, data.groups[held])
    training = data.part(~tied) if held.any() else data
    if held.any() and _lacks(training):
        held[:] = False  # all of a class is held out: rather evaluate out of fold
        training = data
    soft = _soft_labels(training, tuned, seed)
    training = training.with_labels(soft.decided)
    selection = None
    if not tuned:
        to_select = training.fit_data(training.x, training.labels, seed=seed)
        selection = learning.select(to_select, last=last, kinds=kinds)
    kind = learning.tuned_head if tuned else selection.kind if selection else None
    head = _fit(training, soft, seed=seed, warm=warm, kind=kind)
    unseen = data.part(held)
    if unseen.votes is not None:
        labels = learning.break_ties(data.target, unseen.labels, unseen.votes, soft.quality)
        unseen = unseen.with_labels(labels)
    outputs = head.logits(unseen.x)
    evaluated, evaluated_outputs = unseen, outputs
    if not (held.any() and tuned) or data.pretrained is not None:
        evaluated, evaluated_outputs = training, _out_of_fold(training, soft, seed, kind)
    if held.any() and tuned:
        basis, basis_outputs = unseen, outputs
    else:
        basis, basis_outputs = training, evaluated_outputs
        if held.any():
            evaluated = training.joined(unseen)
            evaluated_outputs = np.concatenate([evaluated_outputs, outputs])
        else:
            unseen, outputs = training, evaluated_outputs
    learned = learning.calibrate(
        data.target,
        head,
        tolerance=learning.tolerance(data.target, data.labels),
        unseen=basis.labels,
        outputs=basis_outputs,
    )
    return _evaluated(
        learned, unseen, outputs, evaluated, evaluated_outputs, selection=selection, seed=seed
    )


def _evaluated(
    learned: Learned,
    unseen: ControlData,
    outputs: Floats,
    out_of_fold: ControlData,
    out_of_fold_outputs: Floats,
    *,
    selection: Selection | None,
    seed: int,
) -> ControlResult:
    predicted = learned.decide(outputs, unseen.target)
    correct = agrees(predicted, unseen, learned)
    measures = unseen.learning.measures(
        learned, unseen.labels, outputs, predicted, groups=unseen.groups, seed=seed
    )
    return ControlResult(
        learned,
        unseen,
        outputs,
        predicted,
        correct,
        wilson_interval(correct),
        measures,
        out_of_fold,
        out_of_fold_outputs,
        selection,
    )


def agrees(said: Sequence[Value], data: ControlData, learned: Learned) -> Bools:
    """Which values [N] are right by the labels of `data`, within the tolerance of a head.

    Classes of which a label says nothing are not looked at.
    """
    return kind_of(data.target).agrees(
        data.target,
        said,
        data.values,
        tolerance=learned.tolerance,
        unasked=data.learning.unasked(data.labels),
    )


def _soft_labels(data: ControlData, tuned: bool, seed: int) -> SoftLabels:
    if data.votes is None or (tuned and data.pretrained is None):
        return SoftLabels.unchanged(data.labels)
    fit_data = data.fit_data(data.leak_free, data.labels, seed=seed)
    return data.learning.soft_labels(data.target, data.labels, fit_data, data.votes)


def _out_of_fold(data: ControlData, soft: SoftLabels, seed: int, kind: str | None) -> Floats:
    """[N, C] on embeddings that have not seen the labels, if there are any."""
    fit_data = _soft_data(data, data.leak_free, soft, seed)
    return data.learning.out_of_fold(fit_data, head=kind)[soft.first]


def _soft_data(
    data: ControlData, x: Floats, soft: SoftLabels, seed: int, start: Head | None = None
) -> FitData:
    """The data to fit a head on: soft labels of the rows with features x [N, D]."""
    return FitData.of(
        x[soft.rows],
        soft.fitted.y,
        soft.fitted.names,
        seed=seed,
        groups=data.groups[soft.rows],
        weight=soft.weight,
        warm_start=start,
    )


def _lacks(data: ControlData) -> bool:
    """Whether there is nothing to fit on, or some class has no row."""
    learning, labels = data.learning, data.labels
    return learning.reason(labels) is not None or not learning.is_complete(labels)


def _fit(
    data: ControlData, soft: SoftLabels, *, seed: int, warm: Learned | None, kind: str | None
) -> Head:
    start = warm.head if warm is not None and same_kind(warm, data.labels) else None
    if start is not None and start.classes != soft.fitted.names:
        start = None
    return data.learning.fit(_soft_data(data, data.x, soft, seed, start), head=kind)
