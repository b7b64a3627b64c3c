"""Audits a model's accuracy on all images of a project by random picks alone.

Images that were chosen for being hard say nothing of the others. Those that were drawn uniformly
do: at the time of each draw the images fall into labelled ones, of which it is known where the
model is right, and open ones, of which the drawn one is a fair sample. So each draw gives one
unbiased estimate of the share of *all* images, (right among the labelled + open · drawn one is
right) / all, whatever was chosen before it (Horvitz and Thompson, JASA 1952; for active learning:
Farquhar, Gal and Rainforth, On statistical bias in active learning, ICLR 2021). The model's
confidence, which all images have, makes the interval narrower where it tells right from wrong
answers, and never invalid (`model/statistics/prediction_powered.py`).
"""

from dataclasses import dataclass

import numpy as np

from model.arrays import Float64s, Floats, Indices, Ints
from model.statistics.intervals import LEVEL, Estimate
from model.statistics.prediction_powered import PoolDraws, accuracy_interval

STRATA = 16  # of images of similar confidence, at most


@dataclass(frozen=True)
class LabelledImages:
    """The labelled images in the order of labelling [L].

    `right` says whether the model, or one like it that had not seen the label, is right (or how
    probably it is), `confidence` how sure it is, 0 to 1; NaN counts as 0.
    """

    right: Floats
    confidence: Floats


@dataclass(frozen=True)
class Draws:
    """Images drawn uniformly from those that were open at the time, labelled since [n].

    `row` of the labelled images, and how many images were `labelled` when it was drawn.
    """

    row: Indices
    labelled: Ints


@dataclass(frozen=True)
class Audit:
    """The model's accuracy on all images, and on those that are still open; None when none is."""

    everything: Estimate
    rest: Estimate | None


def audit(
    draws: Draws,
    labelled: LabelledImages,
    open_confidence: Floats,
    *,
    open_images: int,
    level: float = LEVEL,
) -> Audit:
    """The accuracy with an interval at `level` that holds after every draw.

    Models that are not the same after each label make it approximate:
    `benchmarks/choosing/audit.py` measures how often it covers the truth then.

    Args:
        open_confidence: [M] how sure the model is on the images that are still open, or on a random
            part of them; NaN counts as 0. Without any, the confidence is not used.
        open_images: the number of all open images.
    """
    images = len(labelled.right) + open_images
    labelled_right = float(labelled.right.sum())
    found = _on_everything(draws, labelled, open_confidence, open_images, level)
    least, most = labelled_right / max(images, 1), (labelled_right + open_images) / max(images, 1)
    value, low, high = np.clip([found.value, found.low, found.high], least, most).tolist()
    everything = Estimate(value, low, high, found.n)
    if open_images <= 0:
        return Audit(everything, None)
    value, low, high = (
        float(np.clip((share * images - labelled_right) / open_images, 0, 1))
        for share in (value, low, high)
    )
    return Audit(everything, Estimate(value, low, high, found.n))


def _on_everything(
    draws: Draws,
    labelled: LabelledImages,
    open_confidence: Floats,
    open_images: int,
    level: float,
) -> Estimate:
    """The accuracy on all images by the draws from pools that had images in them."""
    images = len(labelled.right) + open_images
    row, before = (values[draws.labelled < images] for values in (draws.row, draws.labelled))
    if not len(row):
        return Estimate(0.5, 0.0, 1.0, 0)
    times, pool = np.unique(before, return_inverse=True)
    right_before = np.concatenate([[0.0], np.cumsum(labelled.right)])[times]
    strata = _Strata.of(labelled.confidence, open_confidence, open_images)
    pool_draws = PoolDraws(
        images=images,
        shares=strata.shares(times),
        open=images - times.astype(np.float64),
        known_right=right_before,
        pool=pool,
        stratum=strata.labelled[row],
        right=labelled.right[row] > 0.5,
    )
    return accuracy_interval(pool_draws, strata.predicted, level=level)


@dataclass(frozen=True)
class _Strata:
    """Images of similar confidence: the stratum of each labelled one [L], sizes [S], means [S]."""

    labelled: Indices
    sizes: Float64s
    predicted: Float64s

    @classmethod
    def of(cls, labelled: Floats, open_sample: Floats, open_images: int) -> "_Strata":
        """Strata of about equally many images, at most STRATA; one where nothing is known."""
        if open_images and not len(open_sample):
            same = float(np.nan_to_num(labelled).mean()) if len(labelled) else 0.5
            labelled, open_sample = np.full(len(labelled), same), np.full(1, same)
        open_sample = open_sample if open_images else open_sample[:0]
        confidence = np.nan_to_num(np.concatenate([labelled, open_sample]).astype(np.float64))
        edges = np.quantile(confidence, np.arange(1, STRATA) / STRATA)
        _, stratum = np.unique(
            np.searchsorted(edges, confidence, side="right"), return_inverse=True
        )
        weight = np.ones(len(confidence))
        weight[len(labelled) :] = open_images / max(len(open_sample), 1)
        sizes: Float64s = np.bincount(stratum, weight).astype(np.float64)
        means: Float64s = np.bincount(stratum, weight * confidence) / sizes
        return cls(stratum[: len(labelled)], sizes, means)

    def shares(self, times: Ints) -> Float64s:
        """The share [P, S] of each among the images without the first so many labelled ones [P]."""
        left = [
            self.sizes - np.bincount(self.labelled[:time], minlength=len(self.sizes))
            for time in times.tolist()
        ]
        sizes: Float64s = np.array(left)
        shares: Float64s = sizes / sizes.sum(axis=1, keepdims=True)
        return shares
