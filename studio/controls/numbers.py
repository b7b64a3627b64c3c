"""`Rating` and `Number` on an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.targets.schema import Number, Value
from studio.controls.base import ControlTarget, ImageControl, NotLearnedError, Regions, Tag
from studio.controls.registry import register
from studio.regions import StudioRegion

DEFAULT_STARS = 5.0
MOST_STARS = 1_000


@dataclass(frozen=True)
class NumberControl(ImageControl):
    """A control whose region holds a number."""

    schema: Number
    absent: None = None
    bulk: bool = True

    def read(self, regions: Regions) -> float | None:
        for number in self.values(regions):
            if _is_number(number) and self._takes(float(number)):
                return float(number)
        return None

    def write(self, value: Value, score: float) -> list[StudioRegion]:
        if not (isinstance(value, (int, float)) and _is_number(value)):
            raise ValueError(f"{self.name} takes a finite number, not {value!r}")
        if not self._takes(float(value)):
            raise ValueError(f"{value} is out of the range of {self.name}")
        exact = float(value)
        return [self.region(int(exact) if exact.is_integer() else exact, score)]

    def offered(self, data: Mapping[str, Any], item: int = 0) -> None:
        return None

    def _takes(self, value: float) -> bool:
        low, high = self.schema.low, self.schema.high
        return (low is None or value >= low) and (high is None or value <= high)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= 1e15 and math.isfinite(value)


@register("Rating")
def rating(tag: Tag) -> NumberControl:
    """A control for stars on one image: from one, in whole steps. Raises NotLearnedError."""
    target = ControlTarget.of(tag)
    given = _attribute(tag, "maxRating")
    stars = DEFAULT_STARS if given is None else given
    if not (1 <= stars <= MOST_STARS and stars.is_integer()):
        raise NotLearnedError(f"maxRating must be a whole number from 1 to {MOST_STARS}")
    return NumberControl(target, Number(1.0, stars, 1.0))


@register("Number")
def number(tag: Tag) -> NumberControl:
    """A control for a number on one image. Raises NotLearnedError."""
    target = ControlTarget.of(tag)
    low, high, step = (_attribute(tag, name) for name in ("min", "max", "step"))
    if low is not None and high is not None and low > high:
        raise NotLearnedError(f"its min {low:g} is above its max {high:g}")
    if step is not None and step <= 0:
        raise NotLearnedError(f"its step {step:g} is not above zero")
    return NumberControl(target, Number(low, high, step))


def _attribute(tag: Tag, name: str) -> float | None:
    text = tag.get(name).strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not _is_number(value):
        raise NotLearnedError(f"its {name} {text!r} is no number")
    return value
