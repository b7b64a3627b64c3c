"""How much two models agree: when successive ones say the same, labels change little any more.

Cohen's κ (Educational and Psychological Measurement 1960) over images that neither was judged on,
as a sign to stop: Bloodgood and Vijay-Shanker, A method for stopping active learning based on
stabilizing predictions, CoNLL 2009, who stop above 0.99 over three models in a row.
"""

from collections.abc import Sequence

import numpy as np

from model.targets.schema import Value

STABLE = 0.99


def kappa(first: Sequence[Value], second: Sequence[Value]) -> float:
    """Cohen's κ of two models' predictions for the same N images: 1 if equal, 0 as by chance.

    Numbers count as equal only if they are the same, so they should be rounded before.

    Raises:
        ValueError: the lengths differ, or N is 0.
    """
    if len(first) != len(second) or not first:
        raise ValueError("Agreement is told of the same images, and of one at least.")
    # By numpy: each learn job forks anew, and importing scikit-learn would take it seconds.
    codes: dict[Value, int] = {}
    a = np.array([codes.setdefault(value, len(codes)) for value in first])
    b = np.array([codes.setdefault(value, len(codes)) for value in second])
    observed = float(np.mean(a == b))
    share_a = np.bincount(a, minlength=len(codes)) / len(a)
    share_b = np.bincount(b, minlength=len(codes)) / len(b)
    by_chance = float(share_a @ share_b)
    return 1.0 if by_chance >= 1 else (observed - by_chance) / (1 - by_chance)


def stable(kappas: Sequence[float], *, models: int = 3) -> bool:
    """Whether the last `models` agreements, the newest last, are all so high that it may end."""
    return len(kappas) >= models and min(kappas[-models:]) >= STABLE
