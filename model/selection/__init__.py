"""What should be labelled next. A strategy is one file here, registered in `STRATEGIES`."""

import numpy as np
from numpy.typing import NDArray

from model.selection.geometry import distinct
from model.selection.registry import STRATEGIES, Pick, Pool

RANDOM = "random"


def cold_start(x: NDArray[np.floating], k: int, *, seed: int) -> list[Pick]:
    """The k images to label first, of embeddings [N, D], in order; nothing is predicted yet.

    Fewer when the pool has fewer. Near-duplicates of a chosen image come only after all others.
    Rows that hold NaN or infinity are never chosen.
    """
    usable = np.nonzero(np.isfinite(x).all(axis=1))[0]
    picks = _by_strategy("kmeans", Pool(x[usable], None, seed), k, np.zeros(0, np.intp))
    return [Pick(int(usable[pick.index]), pick.strategy, pick.probability) for pick in picks]


def shortlist(
    x: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    k: int,
    *,
    seed: int,
    random_share: float = 0.1,
    strategy: str = "margin",
) -> list[Pick]:
    """The k images to label next, in order, of embeddings [N, D] and their probabilities [N, C].

    `random_share` of them are drawn uniformly from the whole pool, each with its probability, and
    stand evenly among the others: an unbiased audit, however far the list is worked off. (When two
    near-duplicates are drawn, the second is given up.) The others are the strategy's. Fewer
    than k when the pool has fewer; near-duplicates of a chosen image come only after all others.
    Rows that hold NaN or infinity are never chosen. Raises UnknownNameError.
    """
    finite = np.isfinite(x).all(axis=1) & np.isfinite(probabilities).all(axis=1)
    usable = np.nonzero(finite)[0]
    pool = Pool(x[usable], probabilities[usable], seed)
    k = min(k, len(usable))
    drawn = _drawn(pool, round(random_share * k))
    avoid = np.array([pick.index for pick in drawn], np.intp)
    chosen = _by_strategy(strategy, pool, k - len(drawn), avoid)
    picks = _interspersed(chosen, drawn)
    return [Pick(int(usable[pick.index]), pick.strategy, pick.probability) for pick in picks]


def _drawn(pool: Pool, count: int) -> list[Pick]:
    """`count` rows drawn uniformly, without the second of two near-duplicates."""
    # Not the strategy's own stream of random numbers: what it draws must not depend on these.
    rng = np.random.default_rng([pool.seed, 1])
    rows = rng.choice(len(pool.x), count, replace=False)
    kept = distinct(pool.x, rows, count, np.zeros(0, np.intp))
    return [Pick(int(row), RANDOM, count / len(pool.x)) for row in kept]


def _by_strategy(name: str, pool: Pool, k: int, avoid: NDArray[np.intp]) -> list[Pick]:
    """The strategy's picks, filled up to k with what it left because it is a near-duplicate."""
    k = min(k, len(pool.x) - len(avoid))
    chosen = STRATEGIES.get(name)().choose(pool, k, avoid)
    left = np.setdiff1d(np.arange(len(pool.x)), [*avoid, *chosen])
    rng = np.random.default_rng([pool.seed, 2])
    filling = rng.choice(left, k - len(chosen), replace=False)
    return [Pick(int(row), name, None) for row in (*chosen, *filling)]


def _interspersed(chosen: list[Pick], drawn: list[Pick]) -> list[Pick]:
    """Both lists in one, each in its order, `drawn` at even distances."""
    total = len(chosen) + len(drawn)
    places = {int((i + 0.5) * total / len(drawn)) for i in range(len(drawn))} if drawn else set()
    first, second = iter(chosen), iter(drawn)
    return [next(second if place in places else first) for place in range(total)]


__all__ = ["Pick", "cold_start", "shortlist"]
