"""The hold-out: labelled tasks that heads are never fitted on, only evaluated and calibrated."""

from collections.abc import Mapping

import numpy as np

from services.training.training_set import TrainingSet
from store.tasks.units import TaskId, UnitId, task_of

HOLDOUT_FROM = 300  # labels: below, withholding some costs more than it tells
HOLDOUT_SHARE = 0.2  # of the labels, as far as there are eligible ones
HOLDOUT_LEAST = 60  # held-out labels that say more than out-of-fold evaluation does


def evaluates_on_holdout(data: TrainingSet) -> bool:
    """Whether heads are evaluated on the hold-out, not out of fold.

    Features that have seen the labels can be measured on a hold-out alone, however small.
    """
    return len(data.holdout) >= (1 if data.tuned else HOLDOUT_LEAST)


def extend_holdout(
    data: TrainingSet, eligible: Mapping[TaskId, bool], *, seed: int
) -> frozenset[UnitId]:
    """Draw tasks to add to the hold-out, whole near-duplicate groups at a time.

    Args:
        eligible: {task: whether it is ground truth} of labels that nobody chose for being hard.

    Returns:
        Their units.
    """
    missing = int(HOLDOUT_SHARE * len(data.tasks)) - len(data.holdout)
    if len(data.tasks) < HOLDOUT_FROM or missing <= 0:
        return frozenset()
    members: dict[int, list[UnitId]] = {}
    for unit, group in zip(data.units, data.groups(), strict=True):
        members.setdefault(int(group), []).append(unit)
    eligible_groups = [
        group
        for group, units in members.items()
        if all(task_of(unit) in eligible and unit not in data.holdout for unit in units)
    ]
    rng = np.random.default_rng(seed)
    order = sorted(
        eligible_groups, key=lambda g: (not eligible[task_of(members[g][0])], rng.random())
    )
    drawn: list[UnitId] = []
    for group in order:
        if len(drawn) >= missing:
            break
        drawn += members[group]
    return frozenset(drawn)
