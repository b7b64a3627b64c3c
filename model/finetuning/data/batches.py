"""Which rows each step sees: a function of the seed and the step alone, so that nothing of it needs
to be kept for a restart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Float64s, Indices
from model.finetuning.terms import Target


@dataclass(frozen=True, eq=False)
class Batches:
    """Epochs of the training rows, cut into batches."""

    rows: Indices  # that are trained on
    weights: Float64s  # how often each is seen an epoch, 1 on average
    size: int  # rows a step
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """The last batch of an epoch is filled up from the next one."""
        return max(1, round(len(self.rows) / self.size))

    def at(self, step: int) -> Indices:
        """The rows of a step, from 0."""
        size = min(self.size, len(self.rows))
        begin, end = step * size, (step + 1) * size
        parts = []
        for epoch in range(begin // len(self.rows), math.ceil(end / len(self.rows))):
            offset = epoch * len(self.rows)
            parts.append(self._epoch(epoch)[max(0, begin - offset) : end - offset])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> Indices:
        """Each row as often as its weight says, rounded up or down; shuffled.

        Systematic resampling: with equal weights every row comes exactly once.
        """
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.rows))
        bounds = np.cumsum(self.weights[order])
        picks = random.random() + np.arange(len(self.rows))
        chosen = order[np.minimum(np.searchsorted(bounds, picks, side="right"), len(order) - 1)]
        shuffled: Indices = self.rows[random.permutation(chosen)]
        return shuffled


def sampling_weights(targets: Sequence[Target], rows: Indices, balance: float) -> Float64s:
    """How often each of `rows` [n] is drawn, 1 on average: (class size) ** −balance.

    Of several classes of an image the rarest counts, of several targets their mean.
    """
    each = [_of_target(t, rows, balance) for t in targets if t.kind != "number" and balance]
    mean = np.mean(each, axis=0) if each else np.ones(len(rows))
    weights: Float64s = mean * (len(rows) / mean.sum())
    return weights


def _of_target(target: Target, rows: Indices, balance: float) -> Float64s:
    y: NDArray[Any] = np.asarray(target.y)[rows]
    if target.kind == "single":
        shown: Bools = np.zeros((len(rows), target.width), bool)
        known = y >= 0
        shown[np.nonzero(known)[0], y[known].astype(np.intp)] = True
    else:
        shown = y > 0
    rarity = np.maximum(shown.sum(axis=0), 1.0) ** -balance
    weights = np.where(shown, rarity, 0.0).max(axis=1, initial=0.0)
    # Rows that show no class are drawn as an average one.
    drawn = weights > 0
    weights[~drawn] = weights[drawn].mean() if drawn.any() else 1.0
    normal: Float64s = weights / weights.mean()
    return normal
