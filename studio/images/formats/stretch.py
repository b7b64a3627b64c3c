"""Maps samples without a natural range to 8 bits, by their robust range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.arrays import Float64s

OUTER = 1.0  # percent of the values, at each end, that may lie far outside of the rest
FEW = 100  # values; of fewer, no percent can be left out
LEVELS = 8  # of which fewer are no picture


@dataclass(frozen=True)
class Stretch:
    """A linear map: `low` becomes 0 and `high` becomes 255, what lies outside is clipped."""

    low: float
    high: float

    def apply(self, values: Float64s) -> npt.NDArray[np.uint8]:
        """The values, of any shape, as 8 bits. What is no number becomes 0."""
        if self.high > self.low:
            scaled = (values - self.low) * (255.0 / (self.high - self.low))
        else:
            scaled = np.where(values >= self.high, 255.0, 0.0)
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
        return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def fit_stretch(values: Float64s, no_data: float | None = None) -> Stretch:
    """The stretch for a picture of which `values`, of any shape, are all or a sample of all.

    What is no number, and `no_data`, is left out. So is an extreme value that is further from all
    others than these are from one another: such as -9999, or a hot pixel. Of the rest, the range
    reaches from the smallest to the largest value that is not much further out than 98% of them.
    """
    kept = values[np.isfinite(values)]
    if no_data is not None:
        # It stands in the file as text; the samples may have less precision.
        kept = kept[~np.isclose(kept, no_data, rtol=1e-6, atol=0)]
    kept = _without_isolated(kept)
    if not kept.size:
        return Stretch(0.0, 0.0)
    first, last = _inner_range(kept)
    if first == last:
        others = kept[kept != first]
        if not others.size:
            # One value alone: white beside what was left out, else black.
            return Stretch(first, first) if kept.size < values.size else Stretch(first, np.inf)
        lowest, highest = _inner_range(others)
        first, last = min(first, lowest), max(last, highest)
    width = last - first
    low, high = kept[kept >= first - width].min(), kept[kept <= last + width].max()
    return Stretch(float(low), float(high))


def _inner_range(values: Float64s) -> tuple[float, float]:
    """Between which all but `OUTER` percent at each end lie."""
    if values.size < FEW:
        return float(values.min()), float(values.max())
    first = np.percentile(values, OUTER, method="higher")
    last = np.percentile(values, 100 - OUTER, method="lower")
    return float(first), float(last)


def _without_isolated(values: Float64s) -> Float64s:
    distinct = np.unique(values)
    first, last = 0, len(distinct) - 1
    while last - first >= LEVELS:
        if distinct[first + 1] - distinct[first] > distinct[last] - distinct[first + 1]:
            first += 1
        elif distinct[last] - distinct[last - 1] > distinct[last - 1] - distinct[first]:
            last -= 1
        else:
            break
    if not distinct.size:
        return values
    kept: Float64s = values[(values >= distinct[first]) & (values <= distinct[last])]
    return kept
