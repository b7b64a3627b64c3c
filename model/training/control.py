"""One control: fit its head, calibrate it, and measure it on tasks that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model.annotators.ballot import Ballot
from model.annotators.soft_labels import Settled, settle, unsettled
from model.arrays import Bools, Floats, Int64s
from model.evaluation.head_selection import Selection, select
from model.evaluation.out_of_fold import out_of_fold_outputs
from model.heads import Head, fit, fit_labels, fit_number
from model.heads.labels import rarest_class
from model.statistics.intervals import Estimate, wilson_interval
from model.targets.encoding import Encoded, names_in, unknown_names, value_of
from model.targets.registry import CalibratedNumber, Learned
from model.targets.schema import TargetSchema, Value
from model.training.measures import calibrate, measures


@dataclass(frozen=True)
class ControlData:
    """The labelled rows of one control: tasks [N], embeddings [N, D], near-duplicate groups [N].

    `pretrained` [N, D'] are embeddings that have not seen the labels, where those of `x` have.
    """

    target: TargetSchema
    tasks: Int64s
    x: Floats
    groups: Int64s
    labels: Encoded  # of these rows
    values: list[Value]
    ballot: Ballot | None = None  # who gave them
    pretrained: Floats | None = None

    @property
    def honest(self) -> Floats:
        """[N, D'] embeddings that have not seen the labels, if there are any."""
        return self.x if self.pretrained is None else self.pretrained

    def part(self, rows: Bools) -> "ControlData":
        """Some of the rows."""
        kept = np.flatnonzero(rows)
        labels = replace(self.labels, rows=self.labels.rows[kept], y=self.labels.y[kept])
        return ControlData(
            self.target,
            self.tasks[kept],
            self.x[kept],
            self.groups[kept],
            labels,
            [self.values[row] for row in kept],
            self.ballot and self.ballot.part(kept),
            None if self.pretrained is None else self.pretrained[kept],
        )

    def decided(self, labels: Encoded) -> "ControlData":
        """The same rows with these labels, where one class each is learned."""
        if labels.form != "single" or labels is self.labels:
            return self
        values = self.values.copy()
        for row in np.flatnonzero(labels.y != self.labels.y):
            values[row] = value_of([labels.names[labels.y[row]]], self.target)
        return replace(self, labels=labels, values=values)

    @property
    def strata(self) -> npt.NDArray[Any]:
        """[N] by what a row is counted under where classes are looked at one by one."""
        if self.labels.form == "multi":
            return rarest_class(self.labels.y)
        return self.labels.y if self.labels.form == "single" else np.zeros(len(self.tasks), int)


@dataclass(frozen=True)
class ControlResult:
    """One control's head, and what it said of tasks that it had not seen.

    `correct` [M]: an annotator would have changed nothing. That is the very class, the very set of
    classes, the very paths; a number within `CalibratedNumber.tolerance`.
    """

    head: Learned
    unseen: ControlData  # [M] rows that were evaluated
    outputs: Floats  # [M, C] what the head, or one like it, said of them before calibration
    predicted: list[Value]  # [M]
    correct: Bools  # [M]
    accuracy: Estimate
    measures: dict[str, Any]  # more of them, by the kind of target, as JSON
    honest: ControlData  # [K] all rows that some head answered that had not seen them
    honest_outputs: Floats  # [K, C] what it said
    selection: Selection | None  # why this kind of head, where there was a choice

    @property
    def target(self) -> TargetSchema:
        """The schema of what is learned."""
        return self.unseen.target

    def metrics(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "accuracy": vars(self.accuracy),
            "form": self.head.form,
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

    `tuned` says that the embedding has seen the labels: then out-of-fold outputs are no honest
    ones, calibration is by the hold-out too, and the kind of head is the one that such features are
    made for. `last` is the kind chosen before, `kinds` those to choose among.
    """
    held = np.array([int(task) in holdout for task in data.tasks], np.bool_)
    tied = np.isin(data.groups, data.groups[held])
    training = data.part(~tied) if held.any() else data
    if held.any() and _lacks(training.labels):
        held[:] = False  # all of a class is held out: rather evaluate out of fold
        training = data
    same = warm is not None and warm.form == data.labels.form
    start = warm.head if warm is not None and same else None
    settled = _settle(training, tuned, seed)
    training = training.decided(settled.decided)
    selection = None if tuned else _select(training, seed, last, kinds)
    kind = selection.kind if selection else None
    head = _fit(training, settled, seed=seed, start=start, kind=kind)
    unseen = data.part(held)
    if unseen.ballot is not None:
        unseen = unseen.decided(settled.decide(unseen.labels, unseen.ballot))
    outputs = head.logits(unseen.x)
    if held.any() and tuned:
        learned = calibrate(head, unseen.labels, outputs, data.target, data.labels)
        honest, honest_outputs = unseen, outputs
        if data.pretrained is not None:
            honest, honest_outputs = training, _out_of_fold(training, settled, seed, kind)
    else:
        honest, honest_outputs = training, _out_of_fold(training, settled, seed, kind)
        learned = calibrate(head, training.labels, honest_outputs, data.target, data.labels)
        if held.any():
            honest = _joined(training, unseen)
            honest_outputs = np.concatenate([honest_outputs, outputs])
        else:
            unseen, outputs = training, honest_outputs
    predicted = learned.decide(outputs, data.target)
    correct = agree(predicted, unseen.values, learned, unknown_names(unseen.labels))
    return ControlResult(
        learned,
        unseen,
        outputs,
        predicted,
        correct,
        wilson_interval(correct),
        measures(learned, unseen.labels, outputs, predicted, unseen.groups, seed=seed),
        honest,
        honest_outputs,
        selection,
    )


def _select(
    data: ControlData, seed: int, last: Selection | None, kinds: Sequence[str] | None
) -> Selection | None:
    """The kind of head, where one class each is learned: elsewhere there is one kind only."""
    labels = data.labels
    if labels.form != "single":
        return None
    return select(
        data.x, labels.y, labels.names, seed=seed, groups=data.groups, kinds=kinds, last=last
    )


def _settle(data: ControlData, tuned: bool, seed: int) -> Settled:
    if data.ballot is None or (tuned and data.pretrained is None):
        return unsettled(data.labels)
    return settle(data.honest, data.labels, data.groups, data.ballot, seed=seed)


def _out_of_fold(data: ControlData, settled: Settled, seed: int, kind: str | None) -> Floats:
    """[N, C] on embeddings that have not seen the labels, if there are any."""
    rows = settled.rows
    outputs = out_of_fold_outputs(
        data.honest[rows],
        settled.fitted,
        data.groups[rows],
        seed=seed,
        weight=settled.weight,
        kind=kind,
    )
    return outputs[settled.first]


def _joined(first: ControlData, second: ControlData) -> ControlData:
    labels = replace(
        first.labels,
        rows=np.concatenate([first.labels.rows, second.labels.rows]),
        y=np.concatenate([first.labels.y, second.labels.y]),
    )
    ballot = None
    if first.ballot is not None and second.ballot is not None:
        ballot = Ballot([*first.ballot.tasks, *second.ballot.tasks])
    return ControlData(
        first.target,
        np.concatenate([first.tasks, second.tasks]),
        np.concatenate([first.x, second.x]),
        np.concatenate([first.groups, second.groups]),
        labels,
        first.values + second.values,
        ballot,
    )


def agree(
    said: Sequence[Value],
    truth: Sequence[Value],
    learned: Learned,
    unknown: Sequence[frozenset[str]] | None = None,
) -> Bools:
    """[M] whether labels are right; numbers as near as `learned` has it.

    `unknown` [M] are classes of which the truth says nothing: they are not looked at.
    """
    if isinstance(learned, CalibratedNumber):
        gaps = np.abs(np.array(said, np.float64) - np.array(truth, np.float64))
        near: Bools = gaps <= learned.tolerance * (1 + 1e-9) + 1e-12
        return near
    rows = zip(said, truth, unknown or [frozenset[str]()] * len(truth), strict=True)
    return np.array([_same(a, b, unsaid) for a, b, unsaid in rows], np.bool_)


def _same(said: Value, truth: Value, unknown: frozenset[str]) -> bool:
    if said == truth or not unknown:
        return said == truth
    return set(names_in(said, "multi")) - unknown == set(names_in(truth, "multi")) - unknown


def _lacks(labels: Encoded) -> bool:
    """Whether there is nothing to fit on, or some class has no row."""
    if labels.reason is not None:
        return True
    if labels.form == "single":
        return len(np.unique(labels.y)) < len(labels.names)
    return labels.form == "multi" and not (labels.y == 1).any(axis=0).all()


def _fit(
    data: ControlData, settled: Settled, *, seed: int, start: Head | None, kind: str | None
) -> Head:
    rows, y, names = settled.rows, settled.fitted.y, settled.fitted.names
    x, groups = data.x[rows], data.groups[rows]
    if start is not None and start.classes != names:
        start = None
    if data.labels.form == "single":
        return fit(
            x,
            y,
            names,
            seed=seed,
            warm_start=start,
            groups=groups,
            weight=settled.weight,
            kind=kind,
        )
    if data.labels.form == "multi":
        return fit_labels(x, y, names, seed=seed, warm_start=start, groups=groups)
    return fit_number(x, y, seed=seed, groups=groups)
