"""A number: regression with a tolerance and an interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float32s, Float64s, Floats, Ints
from model.evaluation.cross_validation import fold_by_fold
from model.evaluation.metrics import numbers
from model.heads import FitData, Head, fit_number
from model.heads.number import NumberHead
from model.targets.base import BaseKind
from model.targets.kind import TARGETS
from model.targets.labels import EncodedLabels
from model.targets.learned import NOTHING, Answer, Offers, Output
from model.targets.schema import Number, Value
from model.targets.tuning.huber import Huber
from model.targets.tuning.loss import TuningLoss

INTERVAL_LEVEL = 0.9
# How near a number must be to count as right where the config gives no step: of the range that
# nine tenths of the labels lie in.
NEAR = 0.1
FARTHEST = 10.0  # units that an error is counted as at most
NUMBER_STRATA = 5  # that folds are balanced by: fifths of the rows, by value
LEAST_OF_MEDIAN = 3  # annotators, from whom on the median counts


@dataclass(frozen=True)
class CalibratedNumber:
    """A head whose output is the number; `tolerance` is how near counts as right."""

    head: NumberHead
    tolerance: float

    kind: ClassVar[str] = "number"
    temperature: ClassVar[float] = 1.0

    def answers(
        self, x: Floats, target: Number, *, least: float = 0.5, offers: Offers = None
    ) -> list[Answer]:
        """The number that the target allows nearest to the head's, sure as its errors were small.

        The interval is where nine of ten truths lie, within what the target allows.
        """
        raw = self.head.values(x).astype(np.float64)
        reach = self.head.reach(INTERVAL_LEVEL)
        found = []
        for value in raw:
            if not math.isfinite(value):
                found.append(NOTHING)
                continue
            said = nearest(value, target)
            sure = self._probability(said - self.tolerance - value, said + self.tolerance - value)
            interval = (within(value - reach, target), within(value + reach, target))
            found.append(Answer(said, sure, sure, interval))
        return found

    def decide(self, outputs: Floats, target: Number) -> list[Value]:
        """The nearest numbers that the target allows."""
        return [nearest(float(value), target) for value in np.asarray(outputs)[:, 0]]

    def spread(self, x: Floats) -> Float32s:
        """[N, 2] the probability of being right, and of not being so."""
        sure = self.confidence(x)
        return np.stack([sure, 1 - sure], axis=1)

    def confidence(self, outputs: Floats) -> Float32s:
        """The probability of an error within the tolerance, the same for all."""
        sure = self._probability(-self.tolerance, self.tolerance)
        return np.full(len(outputs), sure, np.float32)

    def output(self, target: Number) -> Output:
        """The number."""
        return Output("identity", np.arange(1))

    def settings(self) -> dict[str, Any]:
        """The tolerance."""
        return {"form": self.kind, "tolerance": self.tolerance}

    def _probability(self, low: float, high: float) -> float:
        """That the error, symmetric about zero, lies between `low` and `high`, low < high."""

        def below(error: float) -> float:
            return 0.5 + math.copysign(0.5 * self._within(abs(error)), error)

        return max(below(high) - below(low), 0.0)

    def _within(self, error: float) -> float:
        """The share of truths that are at most so far off."""
        errors = self.head.errors
        if not len(errors):
            return 0.0
        place = int(np.searchsorted(errors, error, side="right")) - 1
        return max(place, 0) / (len(errors) - 1)


@TARGETS.register("number")
class NumberKind(BaseKind[Number, float]):
    """A number an image: ridge regression."""

    learned_kinds = frozenset({"number"})

    @property
    def tuning(self) -> TuningLoss:
        """Huber's loss."""
        return Huber()

    def resolve(self, schema: Number, values: Sequence[float]) -> float:
        """The median of three and more; of two, as of classes."""
        if len(values) >= LEAST_OF_MEDIAN:
            return statistics.median_low(values)
        return super().resolve(schema, values)

    def agrees(
        self,
        schema: Number,
        first: Sequence[float],
        second: Sequence[float],
        *,
        tolerance: float = 0.0,
        unasked: Sequence[frozenset[str]] | None = None,
    ) -> Bools:
        """Which numbers [M] are within the tolerance of each other."""
        gaps = np.abs(np.array(first, np.float64) - np.array(second, np.float64))
        near: Bools = gaps <= tolerance * (1 + 1e-9) + 1e-12
        return near

    def is_edit(self, suggested: float, label: float) -> bool:
        """Any other number was moved from there."""
        return True

    def encode(self, schema: Number, values: Sequence[float | None]) -> EncodedLabels:
        """One float a label."""
        rows = np.flatnonzero([value is not None for value in values])
        known = [value for value in values if value is not None]
        return EncodedLabels("number", (), rows, np.array(known, np.float64))

    def decode(self, schema: Number, names: Sequence[str], y: NDArray[Any]) -> list[float]:
        """The numbers."""
        return [float(value) for value in y]

    def pack(self, schema: Number, names: Sequence[str], values: Sequence[float]) -> NDArray[Any]:
        """[M] numbers."""
        return np.array(values, np.float64)

    def reason(self, labels: EncodedLabels) -> str | None:
        """There must be two different numbers."""
        if not len(labels.rows):
            return "no label yet"
        if len(np.unique(labels.y)) < 2:
            return f"all numbers so far are {float(labels.y[0]):g}; a second one is needed"
        return None

    def fit(self, data: FitData, *, head: str | None) -> Head:
        """Ridge regression."""
        return fit_number(data)

    def out_of_fold(self, data: FitData, *, head: str | None) -> Float32s:
        """Numbers [N, 1]."""
        order = np.argsort(np.argsort(data.y, kind="stable"), kind="stable")
        return fold_by_fold(data, order * NUMBER_STRATA // len(data.y), fit_number, 1)

    def tolerance(self, schema: Number, labels: EncodedLabels) -> float:
        """Half a step, or a share of the labels' range."""
        return tolerance_of(labels.y, schema)

    def calibrate(
        self,
        schema: Number,
        head: Head,
        *,
        tolerance: float,
        unseen: EncodedLabels | None = None,
        outputs: Floats | None = None,
    ) -> CalibratedNumber:
        """The head with the tolerance: its errors were kept when it was fitted."""
        return self.load(head, {"tolerance": tolerance})

    def load(self, head: Head, settings: Mapping[str, Any]) -> CalibratedNumber:
        """The head with its stored tolerance."""
        if not isinstance(head, NumberHead):
            raise ValueError(  # noqa: TRY004 - what is stored is wrong, as everywhere in `load`
                f"A head of kind {head.kind} can't be learned as 'number'."
            )
        return CalibratedNumber(head, float(settings["tolerance"]))

    def losses(
        self,
        schema: Number,
        learned: CalibratedNumber,
        outputs: Floats,
        truth: Sequence[float],
        *,
        unit: float,
    ) -> Float64s:
        """[N] the error in units, FARTHEST at most."""
        errors = np.abs(np.asarray(outputs, np.float64)[:, 0] - np.array(truth, np.float64))
        return np.minimum(errors / unit, FARTHEST)

    def measures(
        self,
        learned: CalibratedNumber,
        unseen: EncodedLabels,
        outputs: Floats,
        predicted: Sequence[float],
        *,
        groups: Ints,
        seed: int,
    ) -> dict[str, Any]:
        """The mean absolute error, and how often the interval holds."""
        said = np.array(predicted, np.float64)
        reach = learned.head.reach(INTERVAL_LEVEL)
        half_width = reach if np.isfinite(reach) else None
        metrics = numbers(unseen.y, said, half_width=half_width, groups=groups, seed=seed)
        return metrics.plain() | {"half_width": half_width, "tolerance": learned.tolerance}


def nearest(value: float, target: Number) -> float:
    """The number that the target allows nearest to `value`; NaN stays NaN."""
    if target.step is not None and math.isfinite(value):
        base = target.low or 0.0
        steps = round((within(value, target) - base) / target.step)
        if target.high is not None:
            steps = min(steps, math.floor((target.high - base) / target.step + 1e-9))
        # Twelve digits: 3 · 0.1 is 0.3 and no 0.30000000000000004.
        return float(f"{base + steps * target.step:.12g}")
    return within(value, target)


def within(value: float, target: Number) -> float:
    """`value`, or the bound of the target that it is beyond."""
    if target.low is not None:
        value = max(value, target.low)
    if target.high is not None:
        value = min(value, target.high)
    return value


def tolerance_of(y: Floats, target: Number) -> float:
    """The tolerance for labels y [N]: half a step, or NEAR of their range."""
    if target.step is not None:
        return target.step / 2
    low, high = np.quantile(np.asarray(y, np.float64), [0.05, 0.95])
    return float(NEAR * (high - low))
