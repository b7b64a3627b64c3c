"""Heads fitted on part of a control's labels: what they get right, and how far off they are."""

from collections.abc import Callable

import numpy as np

from model.arrays import Bools, Floats, Ints
from model.heads import fit, fit_labels, fit_number
from model.targets.encoding import unknown_names
from model.targets.registry import (
    CalibratedHead,
    CalibratedLabels,
    CalibratedNumber,
    Learned,
    losses,
    tolerance_of,
)
from model.targets.schema import Number, Paths
from model.training.control import ControlData, agree

FULL_ROWS, PROJECTED = 800, 384  # rows above which features are so many

FAST_KIND = "ridge"  # of heads for one class each: a few milliseconds, and near the best


class Learners:
    """Heads for one control's labels [N], on features that have not seen them."""

    def __init__(self, data: ControlData, *, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.x = _narrow(data.honest, seed)
        self.unknown = unknown_names(data.labels)
        self.tolerance = 0.0
        if isinstance(data.target, Number):
            self.tolerance = tolerance_of(data.labels.y, data.target)

    def right(self, training: Ints, asked: Ints) -> Bools:
        """Whether a head fitted on the rows `training` is right on the rows `asked` [M]."""
        learned, outputs = self._answer(training, asked)
        said = learned.decide(outputs, self.data.target)
        truth = [self.data.values[row] for row in asked]
        return agree(said, truth, learned, [self.unknown[row] for row in asked])

    def losses(self, training: Ints, asked: Ints) -> Floats:
        """How far off it is [M]: `model.targets.losses`."""
        learned, outputs = self._answer(training, asked)
        truth = [self.data.values[row] for row in asked]
        return losses(learned, outputs, truth, unit=self.tolerance or 1.0)

    def _answer(self, training: Ints, asked: Ints) -> tuple[Learned, Floats]:
        learned = _FITS[self.data.labels.form](self, training)
        return learned, learned.head.logits(self.x[asked])

    def _single(self, rows: Ints) -> Learned:
        labels, groups = self.data.labels, self.data.groups
        head = fit(
            self.x[rows],
            labels.y[rows],
            labels.names,
            seed=self.seed,
            groups=groups[rows],
            kind=FAST_KIND,
        )
        return CalibratedHead(head, 1.0)

    def _multi(self, rows: Ints) -> Learned:
        labels, groups = self.data.labels, self.data.groups
        head = fit_labels(
            self.x[rows], labels.y[rows], labels.names, seed=self.seed, groups=groups[rows]
        )
        return CalibratedLabels(head, 1.0, tree=isinstance(self.data.target, Paths))

    def _number(self, rows: Ints) -> Learned:
        labels, groups = self.data.labels, self.data.groups
        head = fit_number(self.x[rows], labels.y[rows], seed=self.seed, groups=groups[rows])
        return CalibratedNumber(head, self.tolerance)


def _narrow(x: Floats, seed: int) -> Floats:
    """The features; of many rows in a random projection, in which fits take a fifth of the time."""
    if len(x) <= FULL_ROWS or x.shape[1] <= PROJECTED:
        return x
    projection = np.random.default_rng(seed).normal(size=(x.shape[1], PROJECTED))
    narrow: Floats = np.asarray(x, np.float32) @ (projection / PROJECTED**0.5).astype(np.float32)
    return narrow


_FITS: dict[str, Callable[[Learners, Ints], Learned]] = {
    "single": Learners._single,
    "multi": Learners._multi,
    "number": Learners._number,
}
