"""Audits a model's accuracy on all images of a project by random picks alone.

Images that were chosen for being hard say nothing of the others. Those that were drawn uniformly
do: at the time of each draw the images fall into labelled ones, of which it is known where the
model is right, and open ones, of which the drawn one is a fair sample. So each draw gives one
unbiased estimate of the share of *all* images, (right among the labelled + open · drawn one is
right) / all, whatever was chosen before it (Horvitz and Thompson, JASA 1952; for active learning:
Farquhar, Gal and Rainforth, On statistical bias in active learning, ICLR 2021).
"""

from dataclasses import dataclass

import numpy as np

from model.arrays import Bools, Floats
from model.statistics.confidence_sequences import mean_interval
from model.statistics.intervals import LEVEL, Estimate


@dataclass(frozen=True)
class Draws:
    """Images drawn uniformly from those that were open at the time, in the order of drawing [n].

    `right` says whether the model, or one like it that had not seen the label, is right;
    `labelled` how many images were labelled when it was drawn, and `labelled_right` on how many of
    those the model is right.
    """

    right: Bools
    labelled: Floats
    labelled_right: Floats


@dataclass(frozen=True)
class Audit:
    """The model's accuracy on all images, and on those that are still open; None when none is."""

    everything: Estimate
    rest: Estimate | None


def audit(
    draws: Draws, *, images: int, labelled: int, labelled_right: float, level: float = LEVEL
) -> Audit:
    """The accuracy with an interval at `level` that holds after every draw.

    `images` are all there are, `labelled` of them are labelled now, and the model is right on
    `labelled_right` of those. Models that are not the same after each label make it approximate:
    `benchmarks/choosing/audit.py` measures how often it covers the truth then.
    """
    total = max(images, 1)
    open_then = np.maximum(total - draws.labelled, 0)
    estimates = np.clip((draws.labelled_right + open_then * draws.right) / total, 0, 1)
    everything = mean_interval(estimates, level=level)
    still_open = images - labelled
    if still_open <= 0:
        return Audit(everything, None)

    def of_open(share: float) -> float:
        return float(np.clip((share * images - labelled_right) / still_open, 0, 1))

    rest = Estimate(
        of_open(everything.value), of_open(everything.low), of_open(everything.high), everything.n
    )
    return Audit(everything, rest)
