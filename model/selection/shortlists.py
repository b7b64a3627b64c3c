"""Makes shortlists: a strategy's picks, with random picks for the audit among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from model.arrays import Floats, Indices
from model.selection.auto import NAME as AUTO
from model.selection.auto import scheduled
from model.selection.geometry import without_duplicates
from model.selection.registry import (
    STRATEGIES,
    NeedsPredictionsError,
    Pick,
    Pool,
)

RANDOM = "random"
NO_ROWS = np.zeros(0, np.intp)

# Rows that strategies choose from, a random subset of larger pools: a choice among a million would
# take minutes.
MAX_CANDIDATES = 20_000

BLOCK = 20_000  # rows that are checked at a time


@dataclass(frozen=True)
class ShortlistRequest:
    """The wanted shortlist. Images are named by their row in the pool.

    Attributes:
        size: the number of images; a pool with fewer gives fewer.
        strategy: the name of the strategy that chooses.
        random_share: the share of the images that is drawn at random, 0 to 1.
        drawn_before: {row: probability} of images that an earlier list drew and nobody has
            labelled.
        listed: rows that were chosen before and stay on the list. They are not chosen again.
    """

    size: int
    strategy: str = AUTO
    random_share: float = 0.1
    drawn_before: Mapping[int, float | None] = field(default_factory=dict)
    listed: Sequence[int] = ()


def cold_start(pool: Pool, request: ShortlistRequest) -> list[Pick]:
    """Choose the images to label first, in order, while nothing can be predicted.

    None is drawn at random. Near-duplicates of a listed or chosen image come only after all others.
    Rows that hold NaN or infinity are never chosen. Raises UnknownNameError.
    """
    usable = finite_rows(pool.x)
    before = np.intersect1d(usable, np.array(request.listed, np.intp))
    rows = np.union1d(_part(usable, pool.seed), before)
    part = Pool(pool.x[rows], (), pool.seed)
    name = scheduled(part) if request.strategy == AUTO else request.strategy
    chosen = rows_by(name, part, request.size, np.searchsorted(rows, before))
    return [Pick(int(rows[row]), name, None) for row in chosen]


def shortlist(pool: Pool, request: ShortlistRequest) -> list[Pick]:
    """Choose the images to label next, in order.

    The strategy needs predictions: `pool.probabilities`, or `pool.predict`, which is called for the
    rows that the strategy chooses from, no others.

    Random picks are drawn uniformly from the whole pool, each with its probability, and stand at
    even distances among the others, the first of them anywhere in its stretch: an unbiased audit,
    however far the list is worked off, and though it be replaced after one label. (When two
    near-duplicates are drawn, the second is given up.) Draws of earlier lists come first among
    them, and those that are too many wait for a later list. The strategy has none of them, since a
    draw that is dropped where a strategy likes the image is no fair draw. The others are the
    strategy's. Near-duplicates of a listed or chosen image come only after all others. Rows that
    hold NaN or infinity are never chosen. Raises UnknownNameError.
    """
    if not pool.probabilities and pool.predict is None:
        raise ValueError("Choosing needs probabilities, or heads to predict them.")
    usable = finite_rows(pool.x)
    for p in pool.probabilities:
        usable = usable[np.isfinite(p[usable]).all(axis=1)]
    listed = np.intersect1d(usable, np.array(request.listed, np.intp))
    free = np.setdiff1d(usable, listed)
    size = min(request.size, len(free))
    wanted = _random_picks(request.random_share, size, pool.seed)
    waiting = _waiting_draws(request.drawn_before, free)
    more = wanted - len(waiting)
    drawn = waiting[:wanted] + _draw(pool.x, free, more, _rows(waiting), pool.seed)
    taken = np.union1d(_rows(drawn), listed)
    left = np.setdiff1d(free, _rows(waiting[wanted:]))
    rows = np.union1d(_part(left, pool.seed), taken)
    part = _part_of(pool, rows)
    name = scheduled(part) if request.strategy == AUTO else request.strategy
    chosen = rows_by(name, part, size - len(drawn), np.searchsorted(rows, taken))
    picks = [Pick(int(rows[row]), name, None) for row in chosen]
    drawn += waiting[wanted:][: size - len(picks) - len(drawn)]
    return _interleave(picks, drawn, np.random.default_rng([pool.seed, 5]).random())


def _random_picks(share: float, size: int, seed: int) -> int:
    """The number of random picks; where it is no whole number, one more by chance.

    So short lists too have that share.
    """
    return int(share * size + np.random.default_rng([seed, 6]).random())


def _waiting_draws(drawn_before: Mapping[int, float | None], free: Indices) -> list[Pick]:
    """The draws of earlier lists that can be chosen."""
    there = np.isin(np.array([*drawn_before], np.intp), free)
    draws = [Pick(row, RANDOM, p) for row, p in drawn_before.items()]
    return [pick for pick, usable in zip(draws, there, strict=True) if usable]


def _part_of(pool: Pool, rows: Indices) -> Pool:
    """The rows that a strategy chooses from, with their predictions."""
    x = pool.x[rows]
    probabilities = tuple(p[rows] for p in pool.probabilities)
    if not probabilities and pool.predict is not None:
        probabilities = pool.predict(x)
    return Pool(x, probabilities, pool.seed, _finite(pool.labelled, x.shape[1]), pool.predict)


def rows_by(name: str, pool: Pool, k: int, avoid: Indices = NO_ROWS) -> Indices:
    """Choose k rows by a strategy, filled up with near-duplicates.

    While nothing can be predicted, a strategy that needs predictions leaves the choice to `auto`.
    """
    strategy = STRATEGIES.get(name)()
    k = min(k, len(pool.x) - len(avoid))
    if k <= 0:
        return NO_ROWS
    try:
        chosen = strategy.choose(pool, k, avoid)
    except NeedsPredictionsError:
        chosen = STRATEGIES.get(AUTO)().choose(pool, k, avoid)
    left = np.setdiff1d(np.arange(len(pool.x)), [*avoid, *chosen])
    rng = np.random.default_rng([pool.seed, 2])
    filling = rng.choice(left, k - len(chosen), replace=False)
    return np.array([*chosen, *filling], np.intp)


def finite_rows(x: Floats) -> Indices:
    """The rows of [N, D] without NaN and infinity, checked in blocks."""
    parts: list[Indices] = [NO_ROWS]
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        if block.dtype == np.float16:  # all bits of the exponent are set; many times faster
            good = (block.view(np.uint16) & 0x7C00).max(axis=1, initial=0) < 0x7C00
        else:
            good = np.isfinite(block).all(axis=1)
        parts.append(start + np.flatnonzero(good))
    return np.concatenate(parts)


def _finite(labelled: Floats, dimensions: int) -> Floats:
    if not len(labelled):
        return np.zeros((0, dimensions), np.float32)
    return labelled[finite_rows(np.asarray(labelled))]


def _part(rows: Indices, seed: int) -> Indices:
    """Draw MAX_CANDIDATES of the rows if there are more, in order."""
    if len(rows) <= MAX_CANDIDATES:
        return rows
    return np.sort(np.random.default_rng([seed, 3]).choice(rows, MAX_CANDIDATES, replace=False))


def _rows(picks: Sequence[Pick]) -> Indices:
    return np.array([pick.index for pick in picks], np.intp)


def _draw(x: Floats, rows: Indices, count: int, avoid: Indices, seed: int) -> list[Pick]:
    """Draw `count` rows uniformly from those not in `avoid`, without near-duplicates."""
    free = np.setdiff1d(rows, avoid)
    count = min(max(count, 0), len(free))
    # Not the strategy's own stream of random numbers: what it draws must not depend on these.
    drawn = np.random.default_rng([seed, 1]).choice(free, count, replace=False)
    sample = np.random.default_rng([seed, 4]).choice(rows, min(len(rows), 500), replace=False)
    pool = Pool(np.concatenate([x[drawn], x[avoid], x[sample]]), (), seed)
    distinct = without_duplicates(
        pool, np.arange(count), count, np.arange(count, count + len(avoid))
    )
    return [Pick(int(row), RANDOM, count / len(free)) for row in drawn[distinct]]


def _interleave(chosen: list[Pick], drawn: list[Pick], offset: float) -> list[Pick]:
    """Interleave both lists, each in its order, `drawn` at even distances from `offset` on."""
    total = len(chosen) + len(drawn)
    places = {int((i + offset) * total / len(drawn)) for i in range(len(drawn))} if drawn else set()
    first, second = iter(chosen), iter(drawn)
    return [next(second if place in places else first) for place in range(total)]
