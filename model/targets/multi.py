"""Any of several classes, each for itself: sigmoids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.annotators.consensus import consensus_by_class
from model.annotators.label_quality import label_quality_by_class
from model.annotators.soft_labels import MOST_CELLS
from model.annotators.vote_matrix import Annotator, VoteMatrix
from model.arrays import Float32s, Float64s, Floats, Ints
from model.evaluation.cross_validation import fold_by_fold
from model.evaluation.metrics import calibration, multi_label
from model.heads import FitData, Head, fit_labels
from model.heads.labels import rarest_class
from model.statistics.calibration import fit_sigmoid_temperature, sigmoid
from model.targets.calibrated_labels import THERE, CalibratedLabels
from model.targets.class_labels import LEAST_LIKELY, C, ClassKind
from model.targets.kind import TARGETS
from model.targets.labels import EncodedLabels, Opinions, SoftLabels
from model.targets.schema import ClassSchema, Value
from model.targets.tuning.binary_cross_entropy import BinaryCrossEntropy
from model.targets.tuning.loss import TuningLoss

T = TypeVar("T")

# Labels that say that a class isn't there. As long as a class that came later has fewer, labels
# from before it came count as saying so: or it would be seen everywhere.
LEAST_WITHOUT = 20


@TARGETS.register("multi")
class MultiKind(ClassKind[C]):
    """Any number of classes an image."""

    learned_kinds = frozenset({"single", "multi"})

    @property
    def tuning(self) -> TuningLoss:
        """Binary cross-entropy."""
        return BinaryCrossEntropy()

    def resolve(self, schema: C, values: Sequence[Value]) -> Value:
        """The classes that most have; with half of the votes, those that the newest has.

        Where most see something, but none the same, what the newest of them sees.
        """
        sets = [value for value in values if isinstance(value, frozenset)]
        agreed = self.majority(schema, sets)
        seeing = [each for each in sets if each]
        return agreed if agreed or 2 * len(seeing) <= len(sets) else seeing[-1]

    def majority(self, schema: C, sets: Sequence[frozenset[Any]]) -> frozenset[Any]:
        """The classes that most of the sets have."""
        return majority(sets)

    def is_edit(self, suggested: Value, label: Value) -> bool:
        """Whether a class is left."""
        both = isinstance(suggested, frozenset) and isinstance(label, frozenset)
        return both and bool(suggested & label)  # type: ignore[operator]

    def plain(self, value: Value) -> list[str]:
        """The sorted names."""
        return sorted(value) if isinstance(value, frozenset) else []

    def tracked_classes(self, schema: C) -> Sequence[str]:
        """All of the config's own."""
        return schema.listed

    def encode(self, schema: C, values: Sequence[Value | None]) -> EncodedLabels:
        """A row of 0 and 1 a label."""
        rows, said, names = self.names_by_label(schema, values, above=True)
        code = {name: index for index, name in enumerate(names)}
        y = np.zeros((len(said), len(names)), np.float32)
        for row, chosen in enumerate(said):
            y[row, [code[name] for name in chosen]] = 1
        return EncodedLabels("multi", names, rows, y)

    def decode(self, schema: C, names: Sequence[str], y: NDArray[Any]) -> list[Value]:
        """The classes that are there, or more probable than not."""
        return [schema.value_of([names[i] for i in np.flatnonzero(row >= THERE)]) for row in y]

    def pack(self, schema: C, names: Sequence[str], values: Sequence[Value]) -> NDArray[Any]:
        """[M, C] of 0 and 1."""
        indices_of = _indices_of(schema, names)
        there = np.zeros((len(values), len(names)), np.uint8)
        for row, value in enumerate(values):
            there[row, indices_of(value)] = 1
        return there

    def reason(self, labels: EncodedLabels) -> str | None:
        """Some class must be there on one image, and not on another."""
        if not len(labels.rows):
            return "no label yet"
        if not labels.names:
            return "no image has any of the classes so far"
        if not ((labels.y == 1).any(axis=0) & (labels.y == 0).any(axis=0)).any():
            return "all images are labelled alike so far; one that differs is needed"
        return None

    def is_complete(self, labels: EncodedLabels) -> bool:
        """Whether each class is there on some image."""
        return bool((labels.y == 1).any(axis=0).all())

    def strata(self, labels: EncodedLabels) -> Ints:
        """[M] by the rarest class of each."""
        return rarest_class(labels.y)

    def counted_under(self, labels: EncodedLabels) -> list[str]:
        """[M] the rarest class of each."""
        names = (*labels.names, "none of the classes")  # −1 is the last
        return [names[index] for index in self.strata(labels)]

    def unasked(self, labels: EncodedLabels) -> list[frozenset[str]]:
        """[M] the classes of NaN."""
        found = [frozenset[str]()] * len(labels.rows)
        unsaid = np.isnan(labels.y)
        for row in np.flatnonzero(unsaid.any(axis=1)):
            found[row] = frozenset(labels.names[index] for index in np.flatnonzero(unsaid[row]))
        return found

    def mask_unasked(
        self, labels: EncodedLabels, since: Mapping[str, float], at: Floats
    ) -> EncodedLabels:
        """The labels with NaN for the classes that came after them."""
        if not since:
            return labels
        y = labels.y.copy()
        for column, name in enumerate(labels.names):
            unsaid = (at < since.get(name, 0.0)) & (y[:, column] == 0)
            if np.count_nonzero(y[~unsaid, column] == 0) >= LEAST_WITHOUT:
                y[unsaid, column] = np.nan
        return replace(labels, y=y)

    def fit(self, data: FitData, *, head: str | None) -> Head:
        """Logistic regressions with one strength."""
        return fit_labels(data)

    def out_of_fold(self, data: FitData, *, head: str | None) -> Float32s:
        """Logits [N, C]."""
        return fold_by_fold(data, rarest_class(data.y), fit_labels, len(data.classes))

    def calibrate(
        self,
        schema: C,
        head: Head,
        *,
        tolerance: float = 0.0,
        unseen: EncodedLabels | None = None,
        outputs: Floats | None = None,
    ) -> CalibratedLabels:
        """The head with a temperature."""
        if unseen is None or outputs is None:
            return CalibratedLabels(head, 1.0, tree=schema.tree)
        temperature = fit_sigmoid_temperature(outputs, unseen.y)
        return CalibratedLabels(head, temperature, tree=schema.tree)

    def load(self, head: Head, settings: Mapping[str, Any]) -> CalibratedLabels:
        """The head with its stored temperature."""
        return CalibratedLabels(head, float(settings["temperature"]), bool(settings["tree"]))

    def losses(
        self,
        schema: C,
        learned: CalibratedLabels,
        outputs: Floats,
        truth: Sequence[Value],
        *,
        unit: float = 1.0,
    ) -> Float64s:
        """[N] the mean log-loss over the head's classes.

        A class that it doesn't know and that isn't there is not counted.
        """
        p = learned.of_logits(outputs).astype(np.float64)
        p = np.clip(p, LEAST_LIKELY, 1 - LEAST_LIKELY)
        there = self.pack(schema, learned.head.classes, truth) == 1
        return np.asarray(-np.log(np.where(there, p, 1 - p)).mean(axis=1), np.float64)

    def measures(
        self,
        learned: CalibratedLabels,
        unseen: EncodedLabels,
        outputs: Floats,
        predicted: Sequence[Value],
        *,
        groups: Ints,
        seed: int,
    ) -> dict[str, Any]:
        """Agreement by class and by image, average precision, calibration."""
        y, p = unseen.y, learned.of_logits(outputs)
        before, known = learned.uncalibrated().of_logits(outputs), ~np.isnan(y)
        metrics = multi_label(y, p, unseen.names, groups=groups, seed=seed)
        return metrics.plain() | calibration(before[known], p[known], y[known] == 1)

    def soft_labels(
        self, schema: C, labels: EncodedLabels, data: FitData, votes: VoteMatrix
    ) -> SoftLabels:
        """Each class by the probability that it is there."""
        unchanged = SoftLabels.unchanged(labels)
        if not _can_compare(votes, labels.names):
            return unchanged
        outputs = self.out_of_fold(data, head=None)
        p = sigmoid(outputs, temperature=fit_sigmoid_temperature(outputs, labels.y))
        shared = np.flatnonzero(votes.counts > 1)
        soft, quality = _consensus(schema, labels.names, votes.part(shared), p[shared])
        y = labels.y.copy()
        y[shared] = np.where(np.isnan(y[shared]), np.nan, soft)  # what nobody could say stays so
        return replace(unchanged, fitted=replace(labels, y=y), quality=quality)

    def opinions(
        self,
        schema: C,
        learned: CalibratedLabels,
        labels: EncodedLabels,
        values: Sequence[Value],
        outputs: Floats,
        votes: VoteMatrix,
    ) -> Opinions:
        """By the consensus on each class; as sure as the least sure of them."""
        y, names = labels.y, labels.names
        p = sigmoid(outputs, temperature=fit_sigmoid_temperature(outputs, y))
        soft = np.nan_to_num(y.astype(np.float64))
        annotators: Mapping[Annotator, float] = {}
        if _can_compare(votes, names):
            shared = np.flatnonzero(votes.counts > 1)
            soft[shared], annotators = _consensus(schema, names, votes.part(shared), p[shared])
        return Opinions(
            self.decode(schema, names, p),
            label_quality_by_class(p, y),
            self.decode(schema, names, soft),
            np.maximum(soft, 1 - soft).min(axis=1),
            annotators,
        )


def majority(sets: Sequence[frozenset[T]]) -> frozenset[T]:
    """The elements of more than half of the sets, or of half of them and the last."""
    counts = Counter(name for each in sets for name in each)
    return frozenset(
        name
        for name, count in counts.items()
        if 2 * count > len(sets) or (2 * count == len(sets) and name in sets[-1])
    )


def _can_compare(votes: VoteMatrix, names: Sequence[str]) -> bool:
    shared = int(np.count_nonzero(votes.counts > 1))
    return 0 < shared * len(votes.annotators) * len(names) <= MOST_CELLS


def _consensus(
    schema: ClassSchema, names: Sequence[str], votes: VoteMatrix, p: Floats
) -> tuple[Float64s, dict[Annotator, float]]:
    """Soft labels [N, C] and the quality of annotators; `p` [N, C] are a model's."""
    table, truth = votes.by_class(len(names), _indices_of(schema, names))
    soft, quality = consensus_by_class(table, p, truth)
    return soft, dict(zip(votes.annotators, quality.tolist(), strict=True))


def _indices_of(schema: ClassSchema, names: Sequence[str]) -> Callable[[Value], list[int]]:
    """The indices of a value's classes, of those that have one."""
    code = {name: index for index, name in enumerate(names)}

    def indices_of(value: Value) -> list[int]:
        return [code[name] for name in schema.names_in(value, above=True) if name in code]

    return indices_of
