"""One of several classes: softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model.annotators.consensus import NONE, consensus, decide
from model.annotators.label_quality import label_quality
from model.annotators.soft_labels import MOST_CELLS, soft_classes
from model.annotators.vote_matrix import Annotator, VoteMatrix
from model.arrays import Float32s, Float64s, Floats, Indices, Ints
from model.evaluation.cross_validation import out_of_fold_logits
from model.evaluation.head_selection import Selection, select
from model.evaluation.metrics import calibration, single_label
from model.heads import FitData, Head, fit
from model.statistics.calibration import fit_temperature, softmax
from model.targets.class_labels import LEAST_LIKELY, ClassKind
from model.targets.kind import TARGETS
from model.targets.labels import EncodedLabels, Opinions, SoftLabels
from model.targets.learned import NOTHING, Answer, Offers, Output
from model.targets.schema import ClassSchema, Value
from model.targets.tuning.cross_entropy import CrossEntropy
from model.targets.tuning.loss import TuningLoss


@dataclass(frozen=True)
class CalibratedHead:
    """A head and the temperature that calibrates its probabilities."""

    head: Head
    temperature: float

    kind: ClassVar[str] = "single"
    tolerance: ClassVar[float] = 0.0

    def probabilities(self, x: Floats) -> Float32s:
        """[N, D] embeddings to [N, C] probabilities, in the order of `head.classes`."""
        return softmax(self.head.logits(x) / np.float32(self.temperature))

    def answers(
        self, x: Floats, target: ClassSchema, *, least: float = 0.5, offers: Offers = None
    ) -> list[Answer]:
        """The most probable class of those that can be chosen.

        What is left of the config counts with its probability among all that was learned. Among
        what a task itself offers, one must be right: those probabilities add up to one.
        """
        p = self.probabilities(x)
        if offers is None:
            keep = np.flatnonzero(target.choosable(self.head.classes))
            if not len(keep):
                return [NOTHING] * len(p)
            best = keep[p[:, keep].argmax(axis=1)]
            top = p[np.arange(len(p)), best]
        else:
            masks = np.stack([target.choosable(self.head.classes, offer) for offer in offers])
            p = np.where(masks, p, 0)
            best = p.argmax(axis=1)
            total = p.sum(axis=1)
            shares = p[np.arange(len(p)), best] / np.maximum(total, np.float32(1e-12))
            top = np.where(masks.any(axis=1), shares, np.nan)
        indices = best.tolist()
        values = {index: target.value_of([self.head.classes[index]]) for index in set(indices)}
        return [
            Answer(values[index], sure, sure) if math.isfinite(sure) else NOTHING
            for index, sure in zip(indices, top.tolist(), strict=True)
        ]

    def decide(self, outputs: Floats, target: ClassSchema) -> list[Value]:
        """The class of the greatest logit of each row."""
        values = [target.value_of([name]) for name in self.head.classes]
        return [values[index] for index in np.asarray(outputs).argmax(axis=1)]

    def confidence(self, outputs: Floats) -> Floats:
        """The probability of the most probable class."""
        sure: Floats = softmax(outputs, temperature=self.temperature).max(axis=1)
        return sure

    def spread(self, x: Floats) -> Float32s:
        """The probabilities of the classes."""
        return self.probabilities(x)

    def output(self, target: ClassSchema) -> Output:
        """Probabilities of the classes that can be chosen today."""
        return Output("softmax", np.flatnonzero(target.choosable(self.head.classes)))

    def settings(self) -> dict[str, Any]:
        """The temperature."""
        return {"form": self.kind, "temperature": self.temperature}


@TARGETS.register("single")
class SingleKind(ClassKind[ClassSchema]):
    """One class an image. Also paths are learned so where each label is a single path."""

    learned_kinds = frozenset({"single"})
    fast_head = "ridge"  # a few milliseconds, and near the best
    tuned_head = "logistic"  # prototypes take the spread of labels that were seen for that of all

    @property
    def tuning(self) -> TuningLoss:
        """Cross-entropy."""
        return CrossEntropy()

    def chance(self, schema: ClassSchema) -> float:
        """One of the classes, as far as they are known."""
        return 1 / len(schema.listed) if schema.listed else super().chance(schema)

    def encode(self, schema: ClassSchema, values: Sequence[Value | None]) -> EncodedLabels:
        """One index a label."""
        rows, said, names = self.names_by_label(schema, values, above=False)
        code = {name: index for index, name in enumerate(names)}
        return EncodedLabels("single", names, rows, np.array([code[n] for (n,) in said], np.int64))

    def decode(self, schema: ClassSchema, names: Sequence[str], y: NDArray[Any]) -> list[Value]:
        """The classes of these indices."""
        return [schema.value_of([names[index]]) for index in y]

    def pack(
        self, schema: ClassSchema, names: Sequence[str], values: Sequence[Value]
    ) -> NDArray[Any]:
        """[M] indices."""
        index_of = _index_of(schema, names)
        return np.array([index_of(value) for value in values], np.int64)

    def reason(self, labels: EncodedLabels) -> str | None:
        """There must be two classes."""
        if not len(labels.rows):
            return "no label yet"
        if len(labels.names) < 2:
            return f"only {labels.names[0]!r} is labelled so far; a second class is needed"
        return None

    def is_complete(self, labels: EncodedLabels) -> bool:
        """Whether each class has a label."""
        return len(np.unique(labels.y)) == len(labels.names)

    def class_indices(self, labels: EncodedLabels) -> Indices:
        """[M] the class of each label."""
        return np.asarray(labels.y, np.intp)

    def strata(self, labels: EncodedLabels) -> Ints:
        """[M] by class."""
        return labels.y

    def counted_under(self, labels: EncodedLabels) -> list[str]:
        """[M] the class."""
        return [labels.names[index] for index in labels.y]

    def select(
        self, data: FitData, *, last: Selection | None, kinds: Sequence[str] | None
    ) -> Selection | None:
        """The kind of head that does best on held-out labels."""
        return select(data, kinds=kinds, last=last)

    def fit(self, data: FitData, *, head: str | None) -> Head:
        """A head of any kind that is registered."""
        return fit(data, kind=head)

    def out_of_fold(self, data: FitData, *, head: str | None) -> Float32s:
        """Logits [N, C]."""
        return out_of_fold_logits(data, kind=head)

    def calibrate(
        self,
        schema: ClassSchema,
        head: Head,
        *,
        tolerance: float = 0.0,
        unseen: EncodedLabels | None = None,
        outputs: Floats | None = None,
    ) -> CalibratedHead:
        """The head with a temperature."""
        if unseen is None or outputs is None:
            return CalibratedHead(head, 1.0)
        return CalibratedHead(head, fit_temperature(outputs, unseen.y))

    def load(self, head: Head, settings: Mapping[str, Any]) -> CalibratedHead:
        """The head with its stored temperature."""
        return CalibratedHead(head, float(settings["temperature"]))

    def losses(
        self,
        schema: ClassSchema,
        learned: CalibratedHead,
        outputs: Floats,
        truth: Sequence[Value],
        *,
        unit: float = 1.0,
    ) -> Float64s:
        """[N] the log-loss; a true class that the head doesn't know counts as LEAST_LIKELY."""
        p = softmax(outputs, temperature=learned.temperature).astype(np.float64)
        code = {name: index for index, name in enumerate(learned.head.classes)}
        said = [schema.names_in(value) for value in truth]
        columns = np.array([code.get(names[0], NONE) if names else NONE for names in said], np.intp)
        of_truth = np.where(columns >= 0, p[np.arange(len(p)), columns], 0)
        return np.asarray(-np.log(np.maximum(of_truth, LEAST_LIKELY)), np.float64)

    def measures(
        self,
        learned: CalibratedHead,
        unseen: EncodedLabels,
        outputs: Floats,
        predicted: Sequence[Value],
        *,
        groups: Ints,
        seed: int,
    ) -> dict[str, Any]:
        """Accuracy, precision and recall by class, the confusion matrix, calibration."""
        p = softmax(outputs, temperature=learned.temperature)
        best = p.argmax(axis=1)
        metrics = single_label(unseen.y, best, unseen.names, groups=groups, seed=seed)
        right = best == unseen.y
        return metrics.plain() | calibration(softmax(outputs).max(axis=1), p.max(axis=1), right)

    def soft_labels(
        self, schema: ClassSchema, labels: EncodedLabels, data: FitData, votes: VoteMatrix
    ) -> SoftLabels:
        """Rows of each class that was voted for, by how likely it is right."""
        shared = int(np.count_nonzero(votes.counts > 1))
        if not shared or shared * len(votes.annotators) * len(labels.names) > MOST_CELLS:
            return SoftLabels.unchanged(labels)
        outputs = self.out_of_fold(data, head=None)
        p = softmax(outputs, temperature=fit_temperature(outputs, labels.y))
        soft = soft_classes(labels.y, *votes.by_row(_index_of(schema, labels.names)), p)
        rated = [votes.annotators[column] for column in np.flatnonzero(soft.columns)]
        return SoftLabels(
            decided=replace(labels, y=soft.decided),
            fitted=replace(labels, rows=labels.rows[soft.rows], y=soft.y),
            rows=soft.rows,
            weight=soft.weight,
            quality=dict(zip(rated, soft.quality.tolist(), strict=True)),
        )

    def break_ties(
        self,
        schema: ClassSchema,
        labels: EncodedLabels,
        votes: VoteMatrix,
        quality: Mapping[Annotator, float],
    ) -> EncodedLabels:
        """Most votes; of a tie, those of the better annotators."""
        if not quality:
            return labels
        cast, truth = votes.by_row(_index_of(schema, labels.names))
        rated = np.array([quality.get(name, np.nan) for name in votes.annotators])
        voted = (cast != NONE).any(axis=1)
        y = labels.y.copy()
        if voted.any():
            y[voted] = decide(cast[voted], rated, truth[voted])
        return replace(labels, y=y)

    def opinions(
        self,
        schema: ClassSchema,
        learned: CalibratedHead,
        labels: EncodedLabels,
        values: Sequence[Value],
        outputs: Floats,
        votes: VoteMatrix,
    ) -> Opinions:
        """By the consensus of annotators and model."""
        y, names = labels.y, labels.names
        p = softmax(outputs, temperature=fit_temperature(outputs, y))
        table, truth = votes.by_row(_index_of(schema, names))
        cast = table != NONE
        rows, columns = np.flatnonzero(cast.any(axis=1)), np.flatnonzero(cast.any(axis=0))
        agreed = consensus(table[np.ix_(rows, columns)], p[rows], truth[rows])
        meant, sure = y.copy(), np.ones(len(y))
        meant[rows], sure[rows] = agreed.labels, agreed.quality
        voters = [votes.annotators[column] for column in columns]
        return Opinions(
            self.decode(schema, names, p.argmax(axis=1)),
            label_quality(p, y),
            self.decode(schema, names, meant),
            sure,
            dict(zip(voters, agreed.annotators.tolist(), strict=True)),
        )


def _index_of(schema: ClassSchema, names: Sequence[str]) -> Callable[[Value], int]:
    """The index of a value's class, where it has one; else NONE."""
    code = {name: index for index, name in enumerate(names)}

    def index_of(value: Value) -> int:
        said = schema.names_in(value)
        return code.get(said[0], NONE) if len(said) == 1 else NONE

    return index_of
