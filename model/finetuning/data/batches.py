"""The batch of each step: a function of seed and step alone, so that a restart needs no state."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.arrays import Bools, Float64s, Indices
from model.finetuning.options import Target


@dataclass(frozen=True, eq=False)
class Batches:
    """Shuffled epochs of the training rows, cut into batches."""

    rows: Indices  # [n] of the training set
    weights: Float64s  # [n] expected draws an epoch, 1 on average
    size: int  # rows a step
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps an epoch; its last batch is filled up from the next epoch."""
        return max(1, round(len(self.rows) / self.size))

    def at(self, step: int) -> Indices:
        """The rows [size] of a step, from 0."""
        size = min(self.size, len(self.rows))
        begin, end = step * size, (step + 1) * size
        parts = []
        for epoch in range(begin // len(self.rows), math.ceil(end / len(self.rows))):
            offset = epoch * len(self.rows)
            parts.append(self._epoch(epoch)[max(0, begin - offset) : end - offset])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> Indices:
        """Shuffled rows, each as often as its weight, rounded up or down.

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
    """Sampling weights [n] of `rows`, 1 on average: (class size) ** −balance.

    An image of several classes gets the weight of the rarest; several targets are averaged.
    """
    shown = [t.loss.shown(np.asarray(t.y)[rows], t.width) for t in targets if balance]
    each = [_weights_by_rarity(classes, balance) for classes in shown if classes is not None]
    mean = np.mean(each, axis=0) if each else np.ones(len(rows))
    weights: Float64s = mean * (len(rows) / mean.sum())
    return weights


def _weights_by_rarity(shown: Bools, balance: float) -> Float64s:
    """The weight [n] of each row, by the rarest of the classes that it shows [n, C]."""
    rarity = np.maximum(shown.sum(axis=0), 1.0) ** -balance
    weights = np.where(shown, rarity, 0.0).max(axis=1, initial=0.0)
    # Rows that show no class are drawn as an average one.
    drawn = weights > 0
    weights[~drawn] = weights[drawn].mean() if drawn.any() else 1.0
    normal: Float64s = weights / weights.mean()
    return normal
