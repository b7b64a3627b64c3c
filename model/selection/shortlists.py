"""Makes shortlists: a strategy's picks, with random picks for the audit among them."""

from collections.abc import Mapping, Sequence

import numpy as np

from model.arrays import Floats, Indices
from model.selection.auto import NAME as AUTO
from model.selection.auto import scheduled
from model.selection.geometry import distinct
from model.selection.registry import (
    STRATEGIES,
    Ask,
    Distribution,
    NeedsPredictionsError,
    Pick,
    Pool,
)

RANDOM = "random"
NOTHING = np.zeros(0, np.intp)

# Rows that strategies look at, drawn at random where there are more: what is left out is like what
# is looked at, and a choice among a million would take minutes.
LOOKED_AT = 20_000

BLOCK = 20_000  # rows that are looked through at a time


def cold_start(
    x: Floats,
    k: int,
    *,
    seed: int,
    strategy: str = AUTO,
    listed: Sequence[int] = (),
) -> list[Pick]:
    """The k images to label first, of embeddings [N, D], in order; nothing is predicted yet.

    Fewer when the pool has fewer. `listed` are rows that were chosen before: they are not chosen
    again. Near-duplicates of those, or of a chosen image, come only after all others.
    Rows that hold NaN or infinity are never chosen. Raises UnknownNameError.
    """
    usable = finite_rows(x)
    before = np.intersect1d(usable, np.array(listed, np.intp))
    rows = np.union1d(_part(usable, seed), before)
    pool = Pool(x[rows], (), seed)
    name = scheduled(pool) if strategy == AUTO else strategy
    chosen = rows_by(name, pool, k, np.searchsorted(rows, before))
    return [Pick(int(rows[row]), name, None) for row in chosen]


def shortlist(
    x: Floats,
    probabilities: Floats | Sequence[Distribution] | None,
    k: int,
    *,
    seed: int,
    random_share: float = 0.1,
    strategy: str = AUTO,
    labelled: Floats | None = None,
    ask: Ask | None = None,
    drawn_before: Mapping[int, float | None] | None = None,
    listed: Sequence[int] = (),
) -> list[Pick]:
    """The k images to label next, in order, of embeddings [N, D] and their probabilities [N, C].

    With several controls, there are probabilities for each, those of the one known least first.
    `ask` says them of any embeddings; with None for `probabilities`, only where that is needed.
    `labelled` [L, D] are the embeddings of labelled images, `listed` rows of the pool that were
    chosen before and that this list goes on from: they are not chosen again.

    `random_share` of the picks are drawn uniformly from the whole pool, each with its probability,
    and stand at even distances among the others, the first of them anywhere in its stretch: an
    unbiased audit, however far the list is worked off, and though it be replaced after one label.
    (When two near-duplicates are drawn, the second is given up.) `drawn_before` are rows of the
    pool that an earlier list drew and nobody has labelled, with their probabilities: they come
    first among the drawn ones, and those that are too many wait for a later list. The strategy has
    none of them, since a draw that is dropped where a strategy likes the image is no fair draw. The
    others are the strategy's. Fewer than k when the pool has fewer; near-duplicates of a listed or
    chosen image come only after all others. Rows that hold NaN or infinity are never chosen.
    Raises UnknownNameError.
    """
    known = (probabilities,) if isinstance(probabilities, np.ndarray) else probabilities
    if known is None and ask is None:
        raise ValueError("Choosing needs probabilities, or heads to ask for them.")
    usable = finite_rows(x)
    for p in known or ():
        usable = usable[np.isfinite(p[usable]).all(axis=1)]
    before = np.intersect1d(usable, np.array(listed, np.intp))
    free = np.setdiff1d(usable, before)
    k = min(k, len(free))
    # By chance where it is no whole number: of short lists too it is that share.
    wanted = int(random_share * k + np.random.default_rng([seed, 6]).random())
    earlier = drawn_before or {}
    there = np.isin(np.array([*earlier], np.intp), free)
    known_draws = [Pick(row, RANDOM, p) for row, p in earlier.items()]
    waiting = [pick for pick, usual in zip(known_draws, there, strict=True) if usual]
    drawn = waiting[:wanted] + _drawn(x, free, wanted - len(waiting), _rows(waiting), seed)
    audited = _rows(drawn)
    taken = np.union1d(audited, before)
    left = np.setdiff1d(free, _rows(waiting[wanted:]))
    rows = np.union1d(_part(left, seed), taken)
    looked_at = x[rows]
    controls = tuple(p[rows] for p in known or ())
    if known is None and ask is not None:
        controls = ask(looked_at)
    pool = Pool(looked_at, controls, seed, _finite(labelled, x), ask)
    name = scheduled(pool) if strategy == AUTO else strategy
    chosen = rows_by(name, pool, k - len(audited), np.searchsorted(rows, taken))
    picks = [Pick(int(rows[row]), name, None) for row in chosen]
    drawn += waiting[wanted:][: k - len(picks) - len(drawn)]
    return _interspersed(picks, drawn, np.random.default_rng([seed, 5]).random())


def rows_by(name: str, pool: Pool, k: int, avoid: Indices = NOTHING) -> Indices:
    """The strategy's rows, filled up to k with what it left because it is a near-duplicate.

    While nothing can be predicted, a strategy that needs predictions leaves the choice to `auto`.
    """
    strategy = STRATEGIES.get(name)()
    k = min(k, len(pool.x) - len(avoid))
    if k <= 0:
        return NOTHING
    try:
        chosen = strategy.choose(pool, k, avoid)
    except NeedsPredictionsError:
        chosen = STRATEGIES.get(AUTO)().choose(pool, k, avoid)
    left = np.setdiff1d(np.arange(len(pool.x)), [*avoid, *chosen])
    rng = np.random.default_rng([pool.seed, 2])
    filling = rng.choice(left, k - len(chosen), replace=False)
    return np.array([*chosen, *filling], np.intp)


def finite_rows(x: Floats) -> Indices:
    """The rows of [N, D] without NaN and infinity, looked through in blocks."""
    parts: list[Indices] = [NOTHING]
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        if block.dtype == np.float16:  # all bits of the exponent are set; many times faster
            good = (block.view(np.uint16) & 0x7C00).max(axis=1, initial=0) < 0x7C00
        else:
            good = np.isfinite(block).all(axis=1)
        parts.append(start + np.flatnonzero(good))
    return np.concatenate(parts)


def _finite(labelled: Floats | None, x: Floats) -> Floats:
    if labelled is None or not len(labelled):
        return np.zeros((0, x.shape[1]), np.float32)
    return labelled[finite_rows(np.asarray(labelled))]


def _part(rows: Indices, seed: int) -> Indices:
    """Of more than LOOKED_AT rows, as many at random, in order."""
    if len(rows) <= LOOKED_AT:
        return rows
    return np.sort(np.random.default_rng([seed, 3]).choice(rows, LOOKED_AT, replace=False))


def _rows(picks: Sequence[Pick]) -> Indices:
    return np.array([pick.index for pick in picks], np.intp)


def _drawn(x: Floats, rows: Indices, count: int, avoid: Indices, seed: int) -> list[Pick]:
    """`count` of the rows drawn uniformly from those not in `avoid`, no second near-duplicate."""
    free = np.setdiff1d(rows, avoid)
    count = min(max(count, 0), len(free))
    # Not the strategy's own stream of random numbers: what it draws must not depend on these.
    drawn = np.random.default_rng([seed, 1]).choice(free, count, replace=False)
    sample = np.random.default_rng([seed, 4]).choice(rows, min(len(rows), 500), replace=False)
    pool = Pool(np.concatenate([x[drawn], x[avoid], x[sample]]), (), seed)
    kept = distinct(pool, np.arange(count), count, np.arange(count, count + len(avoid)))
    return [Pick(int(row), RANDOM, count / len(free)) for row in drawn[kept]]


def _interspersed(chosen: list[Pick], drawn: list[Pick], offset: float) -> list[Pick]:
    """Both lists in one, each in its order, `drawn` at even distances from `offset` (0 to 1) on."""
    total = len(chosen) + len(drawn)
    places = {int((i + offset) * total / len(drawn)) for i in range(len(drawn))} if drawn else set()
    first, second = iter(chosen), iter(drawn)
    return [next(second if place in places else first) for place in range(total)]
