"""Calibrated heads of several classes: a sigmoid a class; in a tree, consistent with ancestors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from model.arrays import Bools, Float32s, Floats
from model.heads import Head
from model.statistics.calibration import sigmoid
from model.targets.learned import NOTHING, Answer, Offers, Output
from model.targets.schema import ClassSchema, Value, path_of

THERE = 0.5  # the probability from which a class is said to be there


@dataclass(frozen=True)
class CalibratedLabels:
    """A head with a logit a class. `tree`: its classes are names of paths."""

    head: Head
    temperature: float
    tree: bool

    kind: ClassVar[str] = "multi"
    tolerance: ClassVar[float] = 0.0

    def probabilities(self, x: Floats) -> Float32s:
        """[N, D] embeddings to [N, C] probabilities, in the order of `head.classes`.

        In a tree, what lies above a class is at least as probable as the class.
        """
        return self.of_logits(self.head.logits(x))

    def answers(
        self, x: Floats, target: ClassSchema, *, least: float = 0.5, offers: Offers = None
    ) -> list[Answer]:
        """The classes that are probable enough; as sure as the least sure of all classes."""
        p = self.probabilities(x)
        same = target.choosable(self.head.classes)
        found = []
        for row, of_row in enumerate(p):
            offer = offers[row] if offers is not None else None
            mask = same if offer is None else target.choosable(self.head.classes, offer)
            if not mask.any() or np.isnan(of_row).any():
                found.append(NOTHING)
                continue
            there = self._chosen(mask & (of_row >= max(least, THERE)))
            doubt = np.maximum(of_row, 1 - of_row)[mask].min()
            score = of_row[there].min() if there.any() else doubt
            found.append(Answer(self._value(there, target), float(score), float(doubt)))
        return found

    def decide(self, outputs: Floats, target: ClassSchema) -> list[Value]:
        """The classes that are more probable than not."""
        there = self.of_logits(outputs) >= THERE
        if target.leaves_only:
            there &= target.choosable(self.head.classes)
        return [self._value(row, target) for row in there]

    def confidence(self, outputs: Floats) -> Floats:
        """The probability of the least sure class being right."""
        p = self.of_logits(outputs)
        sure: Floats = np.maximum(p, 1 - p).min(axis=1) if p.shape[1] else np.zeros(len(p))
        return sure

    def spread(self, x: Floats) -> Float32s:
        """[N, 2] of the class that is least sure: whether it is there."""
        p = self.probabilities(x)
        if not p.shape[1]:
            return np.ones((len(p), 1), np.float32)
        least = np.take_along_axis(p, np.abs(p - THERE).argmin(axis=1)[:, None], axis=1)
        both: Float32s = np.concatenate([least, 1 - least], axis=1)
        return both

    def output(self, target: ClassSchema) -> Output:
        """Probabilities of the classes that can be chosen today."""
        kept = np.flatnonzero(target.choosable(self.head.classes))
        return Output("sigmoid", kept, self.above)

    def settings(self) -> dict[str, Any]:
        """The temperature, and whether the classes are paths."""
        return {"form": self.kind, "temperature": self.temperature, "tree": self.tree}

    def uncalibrated(self) -> CalibratedLabels:
        """The same at temperature 1."""
        return replace(self, temperature=1.0)

    def of_logits(self, logits: Floats) -> Float32s:
        """Probabilities [N, C] of the head's logits [N, C]."""
        with np.errstate(invalid="ignore"):  # of an embedding that holds no numbers
            p = sigmoid(logits, temperature=self.temperature)
        for child, parent in self.above:
            p[:, parent] = np.maximum(p[:, parent], p[:, child])
        return p

    @cached_property
    def above(self) -> list[tuple[int, int]]:
        """(class, the class right above it), the deepest first."""
        if not self.tree:
            return []
        paths = [path_of(name) for name in self.head.classes]
        place = {path: index for index, path in enumerate(paths)}
        deepest_first = sorted(place, key=len, reverse=True)
        return [(place[p], place[p[:-1]]) for p in deepest_first if p[:-1] in place]

    def _chosen(self, there: Bools) -> Bools:
        """Leave out ancestors of chosen classes, as these imply them."""
        kept = there.copy()
        for child, parent in self.above:
            kept[parent] &= not there[child]
        return kept

    def _value(self, there: Bools, target: ClassSchema) -> Value:
        return target.value_of([self.head.classes[index] for index in np.flatnonzero(there)])
