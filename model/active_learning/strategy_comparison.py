"""Compares chosen labels with as many drawn at random.

Both arms start from the same labels; on top, one gets some of the random picks, the other as many
of the chosen ones, and both answer for the random picks that neither has seen. It is the losses
that are compared, since answers alone tell little of so few labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.arrays import Floats, Ints
from model.statistics.intervals import Estimate

LEAST_RANDOM = 40  # random picks: with fewer nothing is said
SPLITS = 4  # of the random picks into halves; each half teaches once and asks once
MOST = 400  # random picks looked at, of the newest

# Student's t at 97.5% for SPLITS · 2 − 1 degrees of freedom: models that differ by their labels.
T_VALUE = 2.365
Z_VALUE = 1.960

# Fits on these rows and says how far off it is for others: (training rows, asked rows) -> [asked].
Losses = Callable[[Ints, Ints], Floats]


@dataclass(frozen=True)
class Arms:
    """The mean loss that choosing saves, by random picks."""

    gain: Estimate
    labels: int  # that each arm was taught, beside those that both have

    @property
    def pays(self) -> bool | None:
        """Whether it pays; None while that can't be told."""
        if self.gain.low > 0:
            return True
        return False if self.gain.high < 0 else None


def compare_arms(
    losses: Losses, common: Ints, chosen: Ints, random: Ints, *, seed: int
) -> Arms | None:
    """Compare on rows: `common` teach both arms; `chosen` [C] and `random` [R] are the arms' own.

    Each arm is taught half of the random picks, or all chosen ones if those are fewer. None with
    fewer than LEAST_RANDOM random picks, or fewer chosen ones than half of LEAST_RANDOM.
    """
    random = random[-MOST:]
    half = len(random) // 2
    labels = min(half, len(chosen))
    if len(random) < LEAST_RANDOM or labels < LEAST_RANDOM // 2:
        return None
    rng = np.random.default_rng(seed)
    total, means = np.zeros(len(random)), []
    for _ in range(SPLITS):
        shuffled = rng.permutation(len(random))
        for taught, asked in (
            (shuffled[:half], shuffled[half:]),
            (shuffled[half:], shuffled[:half]),
        ):
            picked = rng.choice(chosen, labels, replace=False)
            by_chance = losses(np.concatenate([common, random[taught[:labels]]]), random[asked])
            by_choice = losses(np.concatenate([common, picked]), random[asked])
            saved = np.asarray(by_chance - by_choice, np.float64)
            total[asked] += saved
            means.append(float(saved.mean()))
    saved = total / SPLITS
    gain = float(saved.mean())
    of_images = Z_VALUE * float(saved.std(ddof=1)) / len(saved) ** 0.5
    # The halves of one split, and the splits, share labels: taken for what they differ by at most.
    of_models = T_VALUE * float(np.std(means, ddof=1)) / 2**0.5
    reach = float(np.hypot(of_images, of_models))
    return Arms(Estimate(gain, gain - reach, gain + reach, len(random)), labels)
