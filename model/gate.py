"""Whether a candidate may replace what is served: a paired test on the same images.

McNemar's test looks only at images on which the two disagree; exact, one-sided, with the mid-p
correction (Fagerland, Lydersen, Laake, BMC Medical Research Methodology 2013), since the exact test
without it is too lenient on few disagreements.
"""

from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

# The share of equally good candidates that each test may refuse. Together under 7%.
OVERALL_LEVEL = 0.06
CLASS_LEVEL = 0.005  # over all classes together

MUCH_WORSE = 0.2  # of a class's images: what is lost there before the class is looked at


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is published, and why, in words for people."""

    accepted: bool
    reason: str


def compare(
    served_correct: NDArray[np.bool_],
    candidate_correct: NDArray[np.bool_],
    y: NDArray[np.integer],
    classes: tuple[str, ...],
) -> Verdict:
    """The verdict on a candidate over the N images that both have answered.

    `served_correct` and `candidate_correct` [N] say who was right where; `y` [N] are the true
    classes as indices into `classes`. Refused when it is worse beyond chance on all images, or when
    some class got both much worse and worse beyond chance.
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
    p = worse_by_chance(int(lost.sum()), int(won.sum()))
    if p < OVERALL_LEVEL:
        return Verdict(
            False, f"{shares}: {lost.sum()} got lost, {won.sum()} were won (p = {p:.2g})"
        )
    present = np.unique(y)
    for index in present:
        of_class = y == index
        before, after = served_correct[of_class].mean(), candidate_correct[of_class].mean()
        p = worse_by_chance(int(lost[of_class].sum()), int(won[of_class].sum()))
        if before - after >= MUCH_WORSE and p < CLASS_LEVEL / len(present):
            return Verdict(
                False,
                f"{classes[index]!r} is right on {after:.0%} of its {of_class.sum()} images, "
                f"with the served version on {before:.0%} (p = {p:.2g})",
            )
    return Verdict(True, shares)


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
