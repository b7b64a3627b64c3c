"""Paired tests of a candidate and the served version on the same images.

McNemar's test looks only at images on which the two disagree; exact, one-sided, with the mid-p
correction (Fagerland, Lydersen, Laake, BMC Medical Research Methodology 2013), since the exact test
without it is too lenient on few disagreements. On many it is blind: of 400 images, two models that
disagree on 60 of them differ by 20 right answers once in seven times by chance alone. Real models
that are five points apart do disagree so often. So a second test looks at how sure each was of
the truth, which tells such models apart at four to six standard errors
(`benchmarks/learning/gate.py`).
"""

from dataclasses import dataclass
from math import lgamma, log, sqrt
from statistics import NormalDist

import numpy as np

from model.arrays import Bools, Floats, Ints

# The share of equally good candidates that each test may refuse. Together under 7%.
OVERALL_LEVEL = 0.06  # of McNemar's test when it is alone
BESIDE_LEVEL = 0.02  # of it when the losses are known too
LOSS_LEVEL = 0.02  # of the test on losses
CLASS_LEVEL = 0.005  # over all classes together

LOSS_ROWS = 30  # below, a mean of losses is not normal enough

MUCH_WORSE = 0.2  # of a class's images: what is lost there before the class is looked at


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is published, and why, in words for people."""

    accepted: bool
    reason: str


def compare(
    served_correct: Bools,
    candidate_correct: Bools,
    y: Ints,
    classes: tuple[str, ...],
    *,
    served_loss: Floats | None = None,
    candidate_loss: Floats | None = None,
) -> Verdict:
    """The verdict on a candidate over the N images that both have answered.

    `served_correct` and `candidate_correct` [N] say who was right where; `y` [N] are the true
    classes as indices into `classes`. The losses [N] say how far each was from the truth: the
    log-loss of calibrated probabilities, in nats and bounded. Refused when it is worse beyond
    chance on all images by its answers, when it is right on fewer and worse beyond chance by its
    losses, or when some class got both much worse and worse beyond chance. Where a loss is NaN,
    nobody knows.
    """
    n = len(y)
    if n == 0:
        return Verdict(True, "there is no image to compare it on")
    lost = served_correct & ~candidate_correct
    won = candidate_correct & ~served_correct
    shares = (
        f"right on {candidate_correct.mean():.1%} of {n} images, "
        f"the served version on {served_correct.mean():.1%}"
    )
    served_loss, candidate_loss = _known_pairs(served_loss, candidate_loss)
    with_losses = len(served_loss) >= LOSS_ROWS
    p = worse_by_chance(int(lost.sum()), int(won.sum()))
    if p < (BESIDE_LEVEL if with_losses else OVERALL_LEVEL):
        said = f"{shares}: {lost.sum()} got lost, {won.sum()} were won (p = {p:.2g})"
        return Verdict(False, said)
    # One that is right as often is taken however sure it is: that another says so more loudly may
    # only mean that it was calibrated on fewer images.
    fewer = int(lost.sum()) > int(won.sum())
    p = larger_by_chance(candidate_loss - served_loss) if with_losses else 1.0
    if fewer and p < LOSS_LEVEL:
        return Verdict(
            False,
            f"{shares}; less sure of what is true: loss {candidate_loss.mean():.3f}, "
            f"of the served version {served_loss.mean():.3f} (p = {p:.2g})",
        )
    return _worst_class(served_correct, candidate_correct, y, classes) or Verdict(True, shares)


def _worst_class(
    served_correct: Bools,
    candidate_correct: Bools,
    y: Ints,
    classes: tuple[str, ...],
) -> Verdict | None:
    """The refusal for a class that got much worse, if there is one."""
    present = np.unique(y)
    for index in present:
        before, after = served_correct[y == index], candidate_correct[y == index]
        p = worse_by_chance(int((before & ~after).sum()), int((after & ~before).sum()))
        if before.mean() - after.mean() >= MUCH_WORSE and p < CLASS_LEVEL / len(present):
            return Verdict(
                False,
                f"{classes[index]!r} is right on {after.mean():.0%} of its {len(after)} images, "
                f"with the served version on {before.mean():.0%} (p = {p:.2g})",
            )
    return None


def _known_pairs(served: Floats | None, candidate: Floats | None) -> tuple[Floats, Floats]:
    if served is None or candidate is None:
        return np.zeros(0), np.zeros(0)
    known = np.isfinite(served) & np.isfinite(candidate)
    return served[known], candidate[known]


def larger_by_chance(differences: Floats) -> float:
    """One-sided p of a mean above zero of N paired `differences` if they were drawn about zero."""
    deviation = float(np.std(differences, ddof=1))
    if deviation == 0:
        return 1.0
    z = float(np.mean(differences)) / deviation * sqrt(len(differences))
    return NormalDist().cdf(-z)


def worse_by_chance(lost: int, won: int) -> float:
    """Mid-p of losing at least `lost` of the disagreements if winning were as likely."""
    total = lost + won
    if total == 0:
        return 1.0
    k = np.arange(lost, total + 1)
    log_choose = lgamma(total + 1) - np.array(
        [lgamma(i + 1) + lgamma(total - i + 1) for i in k.tolist()]
    )
    chances = np.exp(log_choose - total * log(2))
    return float(chances[1:].sum() + chances[0] / 2)
