"""The base class of kinds of target; a kind overrides what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.annotators.vote_matrix import Annotator, VoteMatrix
from model.arrays import Bools, Floats, Indices, Ints
from model.evaluation.head_selection import Selection
from model.heads import FitData, Head, head_from_arrays
from model.targets.labels import EncodedLabels, Opinions, SoftLabels
from model.targets.schema import TargetSchema
from model.targets.tuning.loss import TuningLoss

S = TypeVar("S", bound=TargetSchema)
V = TypeVar("V")

GUESSED = 0.5  # the chance of a guess where no classes tell it


class BaseKind(Generic[S, V]):
    """A kind whose values are compared as a whole, and of which there is one kind of head."""

    learned_kinds: frozenset[str] = frozenset()
    fast_head: str | None = None
    tuned_head: str | None = None

    @property
    def tuning(self) -> TuningLoss | None:
        """Backbones are not fine-tuned on such labels."""
        return None

    def resolve(self, schema: S, values: Sequence[V]) -> V:
        """The value that most gave; of a tie, the newest."""
        counts = Counter(values)
        most = max(counts.values())
        return next(value for value in reversed(values) if counts[value] == most)

    def agrees(
        self,
        schema: S,
        first: Sequence[V],
        second: Sequence[V],
        *,
        tolerance: float = 0.0,
        unasked: Sequence[frozenset[str]] | None = None,
    ) -> Bools:
        """Which values [M] are equal."""
        return np.array([a == b for a, b in zip(first, second, strict=True)], np.bool_)

    def is_edit(self, suggested: V, label: V) -> bool:
        """Nothing is left of a suggestion that differs."""
        return False

    def classes_in(self, schema: S, value: V) -> tuple[str, ...]:
        """Values are counted under no class."""
        return ()

    def plain(self, value: V) -> Any:
        """A value as JSON."""
        return value

    def chance(self, schema: S) -> float:
        """The probability that a guess is right."""
        return GUESSED

    def tracked_classes(self, schema: S) -> Sequence[str]:
        """No class is missing in earlier labels."""
        return ()

    def is_complete(self, labels: EncodedLabels) -> bool:
        """There are no classes that could lack a label."""
        return True

    def class_indices(self, labels: EncodedLabels) -> Indices | None:
        """Labels have no class."""
        return None

    def strata(self, labels: EncodedLabels) -> Ints:
        """[M] one stratum."""
        return np.zeros(len(labels.y), np.intp)

    def counted_under(self, labels: EncodedLabels) -> list[str]:
        """[M] one name for all."""
        return [f"all {labels.kind}s"] * len(labels.y)

    def unasked(self, labels: EncodedLabels) -> list[frozenset[str]]:
        """[M] a label says all that is asked."""
        return [frozenset()] * len(labels.rows)

    def mask_unasked(
        self, labels: EncodedLabels, since: Mapping[str, float], at: Floats
    ) -> EncodedLabels:
        """The labels as they are."""
        return labels

    def select(
        self, data: FitData, *, last: Selection | None, kinds: Sequence[str] | None
    ) -> Selection | None:
        """There is one kind of head."""
        return None

    def tolerance(self, schema: S, labels: EncodedLabels) -> float:
        """Values must be equal to count as right."""
        return 0.0

    def load_head(
        self, kind: str, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> Head:
        """The head that gave these arrays. Raises UnknownNameError, ValueError."""
        return head_from_arrays(kind, classes, arrays)

    def soft_labels(
        self, schema: S, labels: EncodedLabels, data: FitData, votes: VoteMatrix
    ) -> SoftLabels:
        """The labels as they are."""
        return SoftLabels.unchanged(labels)

    def break_ties(
        self,
        schema: S,
        labels: EncodedLabels,
        votes: VoteMatrix,
        quality: Mapping[Annotator, float],
    ) -> EncodedLabels:
        """The labels as they are."""
        return labels

    def opinions(
        self,
        schema: S,
        learned: Any,
        labels: EncodedLabels,
        values: Sequence[V],
        outputs: Floats,
        votes: VoteMatrix,
    ) -> Opinions:
        """No label is in doubt; a label is as sure as the share of votes that agree with it."""
        tolerance = learned.tolerance
        shares = []
        for cast, value in zip(votes.rows, values, strict=True):
            said: list[Any] = [vote.value for vote in cast]
            alike = self.agrees(schema, said, [value] * len(said), tolerance=tolerance)
            shares.append(alike.mean())
        expected = learned.decide(outputs, schema)
        return Opinions(expected, np.ones(len(shares)), list(values), np.array(shares), {})
