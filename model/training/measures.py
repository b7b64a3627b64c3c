"""A head's outputs on unseen rows: what makes them honest, and what is measured of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.arrays import Bools, Floats, Int64s
from model.evaluation.metrics import multi_label, numbers, single_label
from model.heads import Head, NumberHead
from model.statistics.calibration import (
    calibration_error,
    fit_sigmoid_temperature,
    fit_temperature,
    softmax,
)
from model.targets.encoding import Encoded
from model.targets.registry import (
    INTERVAL_LEVEL,
    CalibratedHead,
    CalibratedLabels,
    CalibratedNumber,
    Learned,
    tolerance_of,
)
from model.targets.schema import Number, Paths, TargetSchema, Value


def calibrate(
    head: Head, unseen: Encoded, outputs: Floats, target: TargetSchema, labels: Encoded
) -> Learned:
    """The head with what makes its answers honest.

    `outputs` [M, C] are those for the rows of `unseen`, by this head or ones like it that had not
    seen them; `labels` are all that there are of the target.
    """
    if isinstance(target, Number):
        assert isinstance(head, NumberHead)
        return CalibratedNumber(head, tolerance_of(labels.y, target))
    if labels.form == "single":
        return CalibratedHead(head, fit_temperature(outputs, unseen.y))
    temperature = fit_sigmoid_temperature(outputs, unseen.y)
    return CalibratedLabels(head, temperature, tree=isinstance(target, Paths))


def measures(
    learned: Learned,
    unseen: Encoded,
    outputs: Floats,
    predicted: Sequence[Value],
    groups: Int64s,
    *,
    seed: int,
) -> dict[str, Any]:
    """As JSON, what suits the form; `predicted` [M] is what `learned` makes of `outputs` [M, C]."""
    y, names = unseen.y, unseen.names
    if learned.form == "single":
        one = softmax(outputs, temperature=learned.temperature)
        best = one.argmax(axis=1)
        return single_label(y, best, names, groups=groups, seed=seed).plain() | _calibration(
            softmax(outputs).max(axis=1), one.max(axis=1), best == y
        )
    if isinstance(learned, CalibratedLabels):
        p = learned.of_logits(outputs)
        before, known = learned.uncalibrated().of_logits(outputs), ~np.isnan(y)
        return multi_label(y, p, names, groups=groups, seed=seed).plain() | _calibration(
            before[known], p[known], y[known] == 1
        )
    assert isinstance(learned, CalibratedNumber)
    said = np.array(predicted, np.float64)
    reach = learned.head.reach(INTERVAL_LEVEL)
    half_width = reach if np.isfinite(reach) else None
    plain = numbers(y, said, half_width=half_width, groups=groups, seed=seed).plain()
    return plain | {"half_width": half_width, "tolerance": learned.tolerance}


def _calibration(before: Floats, after: Floats, right: Bools) -> dict[str, Any]:
    """The debiased calibration error of probabilities [K], without and with the temperature."""
    return {
        "calibration_error": {
            "before": calibration_error(before, right),
            "after": calibration_error(after, right),
            "n": len(right),
        }
    }
