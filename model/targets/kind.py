"""The protocol and the registry of kinds of target.

A kind is one file of this folder, under `@TARGETS.register("name")`. Nothing else asks which kind
a target is of: everything goes by `kind_of(schema)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from model.annotators.vote_matrix import Annotator, VoteMatrix
from model.arrays import Bools, Float32s, Float64s, Floats, Indices, Ints
from model.evaluation.head_selection import Selection
from model.heads import FitData, Head
from model.registry import Registry
from model.targets.labels import EncodedLabels, Opinions, SoftLabels
from model.targets.learned import Learned
from model.targets.schema import TargetSchema, Value
from model.targets.tuning.loss import TuningLoss

S = TypeVar("S", contravariant=True)  # the schema's class
V = TypeVar("V")  # the class of its values
G = TypeVar("G", contravariant=True)  # that of values which are given only


class LabelValues(Protocol[S, V]):
    """Compares and resolves the values of a schema. S is its class, V that of its values."""

    def resolve(self, schema: S, values: Sequence[V]) -> V:
        """The label of an image that annotators gave these values, two or more, the newest last."""

    def agrees(
        self,
        schema: S,
        first: Sequence[V],
        second: Sequence[V],
        *,
        tolerance: float = 0.0,
        unasked: Sequence[frozenset[str]] | None = None,
    ) -> Bools:
        """Which values [M] say the same: an annotator would change nothing.

        Args:
            tolerance: how far apart they may be, `Learned.tolerance`.
            unasked: [M] classes that are not looked at, of `unasked`.
        """

    def is_edit(self, suggested: V, label: V) -> bool:
        """Whether a label that differs from a suggestion still has something of it."""

    def classes_in(self, schema: S, value: V) -> tuple[str, ...]:
        """The names of the classes that a value is counted under; none for numbers."""

    def plain(self, value: V) -> Any:
        """A value as JSON, the same for equal values."""

    def chance(self, schema: S) -> float:
        """The probability that a guess is right."""

    def tracked_classes(self, schema: S) -> Sequence[str]:
        """The classes that earlier labels say nothing about if they came later."""


class LabelArrays(Protocol[S, V]):
    """Values as arrays. Of labels that are encoded, `learning_of` them is to be asked."""

    def encode(self, schema: S, values: Sequence[V | None]) -> EncodedLabels:
        """Labels [N] as arrays; None where there is none."""

    def decode(self, schema: S, names: Sequence[str], y: NDArray[Any]) -> list[V]:
        """The values of rows of `EncodedLabels.y`, or of what `pack` gave."""

    def pack(self, schema: S, names: Sequence[str], values: Sequence[V]) -> NDArray[Any]:
        """Predicted values [M] as a small array, `names` being the classes of the head."""

    def reason(self, labels: EncodedLabels) -> str | None:
        """Why nothing can be learned from these labels; None when something can."""

    def is_complete(self, labels: EncodedLabels) -> bool:
        """Whether each class has a label."""

    def class_indices(self, labels: EncodedLabels) -> Indices | None:
        """The class of each label [M] as an index into names, where each has exactly one."""

    def strata(self, labels: EncodedLabels) -> Ints:
        """[M] by which labels are spread evenly over folds."""

    def counted_under(self, labels: EncodedLabels) -> list[str]:
        """[M] the name under which the gate counts each label."""

    def unasked(self, labels: EncodedLabels) -> list[frozenset[str]]:
        """[M] the classes of which a label doesn't say whether they are there."""

    def mask_unasked(
        self, labels: EncodedLabels, since: Mapping[str, float], at: Floats
    ) -> EncodedLabels:
        """The labels without what they can't say of classes that came later.

        Args:
            since: {class: when it came}.
            at: [M] when each label was made.
        """


class LabelFitting(Protocol[S, G]):
    """Fits, calibrates and evaluates heads. `learning_of` the encoded labels is asked."""

    @property
    def fast_head(self) -> str | None:
        """The kind of head to fit on many parts of the labels, if there are several."""

    @property
    def tuned_head(self) -> str | None:
        """The kind of head for features of a fine-tuned backbone, if there are several."""

    def select(
        self, data: FitData, *, last: Selection | None, kinds: Sequence[str] | None
    ) -> Selection | None:
        """Select the kind of head; None where there is only one."""

    def fit(self, data: FitData, *, head: str | None) -> Head:
        """A head, of the kind `head` if there are several."""

    def out_of_fold(self, data: FitData, *, head: str | None) -> Float32s:
        """Outputs [N, C] of each row by a head that was not fitted on its fold."""

    def tolerance(self, schema: S, labels: EncodedLabels) -> float:
        """The greatest error that counts as right; 0 for classes."""

    def calibrate(
        self,
        schema: S,
        head: Head,
        *,
        tolerance: float,
        unseen: EncodedLabels | None = None,
        outputs: Floats | None = None,
    ) -> Learned:
        """Calibrate the probabilities of a head.

        `outputs` [M, C] are those for the labels `unseen`, by this head or ones like it that were
        not fitted on them; without, the head is taken as it is.
        """

    def load_head(
        self, kind: str, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> Head:
        """The head that gave these arrays. Raises UnknownNameError, ValueError."""

    def load(self, head: Head, settings: Mapping[str, Any]) -> Learned:
        """The `Learned` that gave these settings. ValueError when they can't be one's."""

    def losses(
        self, schema: S, learned: Any, outputs: Floats, truth: Sequence[G], *, unit: float
    ) -> Float64s:
        """[N] how far outputs [N, C] of the head are from the truth, bounded.

        Of classes the log-loss in nats, of numbers the error in `unit`s.
        """

    def measures(
        self,
        learned: Any,
        unseen: EncodedLabels,
        outputs: Floats,
        predicted: Sequence[G],
        *,
        groups: Ints,
        seed: int,
    ) -> dict[str, Any]:
        """Metrics as JSON; `predicted` [M] is what `learned` makes of `outputs` [M, C]."""

    @property
    def tuning(self) -> TuningLoss | None:
        """The loss of fine-tuning; None where backbones are not fine-tuned on such labels."""


class LabelVotes(Protocol[S, G]):
    """Combines the votes of several annotators. `learning_of` the encoded labels is asked."""

    def soft_labels(
        self, schema: S, labels: EncodedLabels, data: FitData, votes: VoteMatrix
    ) -> SoftLabels:
        """The labels of N images, soft where annotators disagree.

        `data` holds features that have not seen the labels. A model that is fitted on those is one
        of the judges, always on images that it has not seen. Nothing is fitted where no two have
        labelled the same image.
        """

    def break_ties(
        self,
        schema: S,
        labels: EncodedLabels,
        votes: VoteMatrix,
        quality: Mapping[Annotator, float],
    ) -> EncodedLabels:
        """The labels of other images, ties decided by the quality of these annotators."""

    def opinions(
        self,
        schema: S,
        learned: Any,
        labels: EncodedLabels,
        values: Sequence[G],
        outputs: Floats,
        votes: VoteMatrix,
    ) -> Opinions:
        """Judge labels, `values` [N], by out-of-fold `outputs` [N, C] and votes."""


class TargetKind(
    LabelValues[S, V], LabelArrays[S, V], LabelFitting[S, V], LabelVotes[S, V], Protocol
):
    """A kind of target. `BaseKind` has what most kinds have in common."""

    @property
    def learned_kinds(self) -> frozenset[str]:
        """The `Learned.kind`s of heads that can answer for such a schema."""


TARGETS: Registry[Callable[[], TargetKind[Any, Any]]] = Registry("kind of target", "model.targets")


@cache
def get_kind(name: str) -> TargetKind[Any, Any]:
    """The kind that a file registers under a name. UnknownNameError when none does."""
    return TARGETS.get(name)()


def kind_of(schema: TargetSchema) -> TargetKind[Any, Any]:
    """The kind of a schema's values. UnknownNameError when no file registers it."""
    return get_kind(schema.kind)


def learning_of(labels: EncodedLabels | Learned) -> TargetKind[Any, Any]:
    """The kind that learns these labels, or that learned this head."""
    return get_kind(labels.kind)


def fits(learned: Learned, schema: TargetSchema) -> bool:
    """Whether a head can answer for a schema, which may have changed since it was fitted."""
    return learned.kind in kind_of(schema).learned_kinds


def same_kind(learned: Learned, other: EncodedLabels | Learned) -> bool:
    """Whether the kind that learned a head learns these labels too, or another head."""
    return learned.kind == other.kind


def value_json(schema: TargetSchema, value: Value) -> Any:
    """A value as JSON, the same for equal values."""
    return kind_of(schema).plain(value)
