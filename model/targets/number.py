"""A number: regression, with how far off it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from model.arrays import Float32s, Floats
from model.heads.number import NumberHead
from model.targets.encoding import Form
from model.targets.learned import NOTHING, Answer, Offers
from model.targets.schema import Number, TargetSchema, Value

INTERVAL_LEVEL = 0.9
# How near a number must be to count as right where the config gives no step: of the range that
# nine tenths of the labels lie in.
NEAR = 0.1


@dataclass(frozen=True)
class CalibratedNumber:
    """A head whose output is the number; `tolerance` is how near counts as right."""

    head: NumberHead
    tolerance: float

    form: ClassVar[Form] = "number"
    temperature: ClassVar[float] = 1.0

    def answers(
        self, x: Floats, target: TargetSchema, *, least: float = 0.5, offers: Offers = None
    ) -> list[Answer]:
        """The number that the target allows nearest to the head's, sure as its errors were small.

        The interval is where nine of ten truths lie, within what the target allows.
        """
        assert isinstance(target, Number)
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

    def decide(self, outputs: Floats, target: TargetSchema) -> list[Value]:
        """The nearest numbers that the target allows."""
        assert isinstance(target, Number)
        return [nearest(float(value), target) for value in np.asarray(outputs)[:, 0]]

    def spread(self, x: Floats) -> Float32s:
        """[N, 2] the probability of being right, and of not being so."""
        sure = np.array([self._probability(-self.tolerance, self.tolerance)] * len(x), np.float32)
        return np.stack([sure, 1 - sure], axis=1)

    def settings(self) -> dict[str, Any]:
        """The tolerance."""
        return {"tolerance": self.tolerance}

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
    """How near counts as right for labels y [N]: half a step, or NEAR of their range."""
    if target.step is not None:
        return target.step / 2
    low, high = np.quantile(np.asarray(y, np.float64), [0.05, 0.95])
    return float(NEAR * (high - low))
