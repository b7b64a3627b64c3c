"""Measures the agreement of two models: once it is high, more labels change little.

Cohen's κ (Educational and Psychological Measurement 1960) over images that neither was judged on,
as a sign to stop: Bloodgood and Vijay-Shanker, A method for stopping active learning based on
stabilizing predictions, CoNLL 2009, who stop above 0.99 over three models in a row.
"""

from collections.abc import Callable, Sequence

import numpy as np

from model.arrays import Bools, Ints
from model.targets.schema import Value

STABLE = 0.99


def kappa(
    first: Sequence[Value],
    second: Sequence[Value],
    agrees: Callable[[Sequence[Value], Sequence[Value]], Bools],
) -> float:
    """Cohen's κ of two models' predictions for the same N images: 1 if equal, 0 as by chance.

    `agrees` tells which values of two lists [M] say the same. By chance, predictions agree as often
    as any prediction of the one model with any of the other.

    Raises:
        ValueError: the lengths differ, or N is 0.
    """
    if len(first) != len(second) or not first:
        raise ValueError("Agreement is told of the same images, and of one at least.")
    # By numpy: each learn job forks anew, and importing scikit-learn would take it seconds.
    said, a = _coded(first)
    other, b = _coded(second)
    every_pair = agrees([value for value in said for _ in other], other * len(said))
    pairs = every_pair.reshape(len(said), len(other))
    share_a, share_b = np.bincount(a) / len(a), np.bincount(b) / len(b)
    observed, by_chance = float(np.mean(pairs[a, b])), float(share_a @ pairs @ share_b)
    return 1.0 if by_chance >= 1 else (observed - by_chance) / (1 - by_chance)


def stable(kappas: Sequence[float], *, models: int = 3) -> bool:
    """Whether the last `models` agreements, the newest last, are all so high that it may end."""
    return len(kappas) >= models and min(kappas[-models:]) >= STABLE


def _coded(values: Sequence[Value]) -> tuple[list[Value], Ints]:
    """The different values, and for each of [M] values its index among them."""
    codes: dict[Value, int] = {}
    indices = np.array([codes.setdefault(value, len(codes)) for value in values])
    return list(codes), indices
