"""Scales scores that only rank to logits with calibrated probabilities."""

from model.arrays import Floats, Ints
from model.statistics.calibration import fit_temperature

# Where nothing can be held out, the best class is on average this far above the mean of all, in
# nats: sure enough to order images by, and no more.
PRESUMED_LEAD = 2.0


def divisor(own: Floats, held: Floats | None, label: Ints) -> float:
    """The divisor of scores.

    `own` [n, C] are scores of the rows that were fitted on. `held` [m, C] are scores of rows that
    were held out, of classes `label` [m]; rows with NaN are left out, and None is none at all.
    """
    lead = float((own.max(axis=1) - own.mean(axis=1)).mean())
    presumed = lead / PRESUMED_LEAD if lead > 1e-6 else 1.0
    if held is None:
        return presumed
    return presumed * fit_temperature(held / presumed, label)
