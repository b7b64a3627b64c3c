"""Fits heads on part of a control's labels, and measures their accuracy and loss."""

import numpy as np

from model.arrays import Bools, Floats, Ints
from model.heads import FitData
from model.targets.kind import kind_of
from model.targets.learned import Learned
from model.training.control import ControlData

FULL_ROWS, PROJECTED = 800, 384  # rows above which features are so many


class Learners:
    """Heads for one control's labels [N], on features that have not seen them."""

    def __init__(self, data: ControlData, *, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.x = _narrow(data.leak_free, seed)
        self.unasked = data.learning.unasked(data.labels)
        self.tolerance = data.learning.tolerance(data.target, data.labels)

    def right(self, training: Ints, asked: Ints) -> Bools:
        """Whether a head fitted on the rows `training` is right on the rows `asked` [M]."""
        learned, outputs = self._answer(training, asked)
        target = self.data.target
        return kind_of(target).agrees(
            target,
            learned.decide(outputs, target),
            [self.data.values[row] for row in asked],
            tolerance=learned.tolerance,
            unasked=[self.unasked[row] for row in asked],
        )

    def losses(self, training: Ints, asked: Ints) -> Floats:
        """Its losses [M], by the kind of target."""
        learned, outputs = self._answer(training, asked)
        truth = [self.data.values[row] for row in asked]
        unit = self.tolerance or 1.0
        return self.data.learning.losses(self.data.target, learned, outputs, truth, unit=unit)

    def _answer(self, training: Ints, asked: Ints) -> tuple[Learned, Floats]:
        data, learning = self.data, self.data.learning
        part = FitData.of(
            self.x[training],
            data.labels.y[training],
            data.labels.names,
            seed=self.seed,
            groups=data.groups[training],
        )
        head = learning.fit(part, head=learning.fast_head)
        learned = learning.calibrate(data.target, head, tolerance=self.tolerance)
        return learned, head.logits(self.x[asked])


def _narrow(x: Floats, seed: int) -> Floats:
    """The features; of many rows in a random projection, in which fits take a fifth of the time."""
    if len(x) <= FULL_ROWS or x.shape[1] <= PROJECTED:
        return x
    projection = np.random.default_rng(seed).normal(size=(x.shape[1], PROJECTED))
    narrow: Floats = np.asarray(x, np.float32) @ (projection / PROJECTED**0.5).astype(np.float32)
    return narrow
