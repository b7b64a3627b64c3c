"""How far what a head says is from the truth: what the gate compares beside right and wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.arrays import Float64s, Floats
from model.statistics.calibration import softmax
from model.targets.encoding import names_in
from model.targets.learned import Learned
from model.targets.multi import CalibratedLabels
from model.targets.schema import Value

LEAST = 0.01  # probability: nothing true is counted as less likely, so that no row outweighs all
FARTHEST = 10.0  # of numbers: units that an error is counted as at most


def losses(learned: Learned, outputs: Floats, truth: Sequence[Value], *, unit: float) -> Float64s:
    """[N] the log-loss of outputs [N, C] of the head, in nats; of a number its error in `unit`s.

    Of several classes it is the mean over them. A true class that the head doesn't know counts as
    LEAST, one that it doesn't know and that isn't there not at all.
    """
    if learned.form == "number":
        errors = np.abs(np.asarray(outputs, np.float64)[:, 0] - np.array(truth, np.float64))
        return np.minimum(errors / unit, FARTHEST)
    names = learned.head.classes
    if isinstance(learned, CalibratedLabels):
        p = np.clip(learned.of_logits(outputs).astype(np.float64), LEAST, 1 - LEAST)
        there = np.zeros(p.shape, np.bool_)
        for row, value in enumerate(truth):
            said = set(names_in(value, "multi"))
            there[row] = [name in said for name in names]
        return np.asarray(-np.log(np.where(there, p, 1 - p)).mean(axis=1), np.float64)
    p = softmax(outputs, temperature=learned.temperature).astype(np.float64)
    place = {name: index for index, name in enumerate(names)}
    columns = np.array([place.get(names_in(value, "single")[0], -1) for value in truth], np.intp)
    of_truth = np.where(columns >= 0, p[np.arange(len(p)), columns], 0)
    return np.asarray(-np.log(np.maximum(of_truth, LEAST)), np.float64)
