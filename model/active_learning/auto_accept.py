"""Finds the confidence from which suggestions may be accepted unseen.

The threshold comes from random picks that people have labelled: the share of wrong suggestions
among those as sure as that must be below a target, by a bound that holds at every look
(`model/statistics/bounds.py`). Thresholds are tried from the strictest for which there are enough
picks to the loosest, and the first that fails ends it, so that trying several costs nothing
(fixed-sequence testing; Angelopoulos et al., Learn then test, 2021). Where the strictest has too
few picks, a looser one comes first, and another one later: for that, the bound is at half the
level.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Floats
from model.statistics.confidence_sequences import items_needed, upper_bound, upper_bound_is_below

ALPHA = 0.05  # probability that suggestions with too many errors are ever taken
EACH = ALPHA / 2  # of one threshold's bound
THRESHOLDS = (0.99, 0.95, 0.9, 0.8, 0.65, 0.5, 0.0)  # confidence, from strict to loose

# States of `Rule`.
OFF, FEW, FAILED, ON = "off", "too few", "failed", "on"


@dataclass(frozen=True)
class Audited:
    """Labelled random picks [n], with confidence, correctness and group of their suggestion.

    `group` names the class that was suggested, so that each can be looked at by itself.
    """

    confidence: Floats
    wrong: Bools
    group: NDArray[np.str_]

    def part(self, rows: Bools) -> "Audited":
        """Some of them."""
        return Audited(self.confidence[rows], self.wrong[rows], self.group[rows])


@dataclass(frozen=True)
class Rule:
    """The suggestions that may be accepted: as sure as `threshold`, of groups not `excluded`.

    `bound` is what the share of wrong ones is below, `wrong` of `audited` the picks that say so.
    In another state than ON they say why nothing may be taken: of the strictest threshold tried.
    What was taken by an earlier rule may stay if it was at least as sure as `stays`, and not of a
    group in `broken`: of those more than the target of the picks are wrong.
    """

    state: str
    threshold: float | None
    bound: float | None
    audited: int
    wrong: int
    excluded: tuple[str, ...]
    needed: int  # picks without any error that the target takes
    stays: float = 0.0
    broken: tuple[str, ...] = ()

    def takes(self, confidence: Floats, group: NDArray[np.str_]) -> Bools:
        """Which suggestions [N] may be taken."""
        if self.state != ON or self.threshold is None:
            return np.zeros(len(confidence), np.bool_)
        taken: Bools = confidence >= self.threshold
        return taken & ~np.isin(group, np.array(self.excluded, np.str_))

    @property
    def rate(self) -> float | None:
        """The share of the audited picks that are wrong."""
        return self.wrong / self.audited if self.audited else None


def decide(audited: Audited, target: float) -> Rule:
    """The rule for a `target` share of wrong suggestions, in (0, 1)."""
    needed = items_needed(target, EACH)
    tried: tuple[str, float] | None = None
    for threshold in THRESHOLDS:
        sure = audited.part(audited.confidence >= threshold)
        if len(sure.wrong) < needed:
            continue
        held = upper_bound_is_below(sure.wrong, target, alpha=EACH)
        if held or tried is None:
            tried = (ON if held else FAILED), threshold
        if not held:
            break
    if tried is None:
        return Rule(FEW, None, None, len(audited.wrong), int(audited.wrong.sum()), (), needed)
    state, threshold = tried
    sure = audited.part(audited.confidence >= threshold)
    bound = upper_bound(sure.wrong, alpha=EACH)
    bad = _excluded(sure, target, needed) if state == ON else ()
    stays, wrong = _stays(audited, target, needed), int(sure.wrong.sum())
    broken = tuple(name for name in bad if sure.wrong[sure.group == name].mean() > target)
    return Rule(state, threshold, bound, len(sure.wrong), wrong, bad, needed, stays, broken)


def _stays(audited: Audited, target: float, needed: int) -> float:
    """From which confidence on at most `target` of the picks are wrong, as far as that is told."""
    stays = math.inf
    for threshold in THRESHOLDS:
        wrong = audited.wrong[audited.confidence >= threshold]
        if len(wrong) < needed:
            continue
        if wrong.mean() > target:
            return stays
        stays = threshold
    return 0.0


def _excluded(sure: Audited, target: float, needed: int) -> tuple[str, ...]:
    """Classes that don't keep the target by themselves, as far as that can be seen.

    With enough picks a class must show it as all together do; with fewer it must not look worse.
    """
    bad = []
    for name in np.unique(sure.group):
        wrong = sure.wrong[sure.group == name]
        if len(wrong) >= needed:
            fails = not upper_bound_is_below(wrong, target, alpha=EACH)
        else:
            fails = wrong.sum() > max(target * len(wrong), 1)
        if fails:
            bad.append(str(name))
    return tuple(bad)
