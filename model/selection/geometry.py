"""Near-duplicates and clusters among embeddings. Numpy only."""

import numpy as np

from model.arrays import Float32s, Floats, Indices
from model.heads.features import fitting_power, normalise
from model.selection.registry import Pool

# Cosine above which two images are one to an annotator. EfficientNet-Lite0 gives 0.9928 to 0.9972
# for a photograph saved again or brightened, at most 0.9948 for two of 2,000 textile images.
NEAR_DUPLICATE = 0.995
# Features that have seen the labels bring all images of a class together. There a near-duplicate
# must be nearer than a row's neighbours are: by this share of their distance.
NEARER = 0.2
SAMPLE = 500  # rows that neighbours are looked at of
NEIGHBOUR = 10  # which one
COPY = 0.9999  # a copy of an image is a duplicate wherever it is

# Distances are kept by a random projection to this many dimensions within some ten percent (Johnson
# and Lindenstrauss), which is enough for clusters, at a tenth of the work.
PROJECTED = 128

ITERATIONS = 20


def unit_rows(x: Floats) -> Float32s:
    """Embeddings [N, D] in single precision, each of length one."""
    return normalise(x, 1.0)


def usual_rows(pool: Pool, x: Floats) -> Float32s:
    """Embeddings [n, D] as heads see those of the pool: [n, D], each of length one."""
    if not len(x):
        return np.zeros((0, pool.x.shape[1]), np.float32)
    return normalise(x, fitting_power(pool.x[:SAMPLE]))


def drawn_from(
    pool: Pool, avoid: Indices, most: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """The pool's rows but for `avoid` in random order: `most` of them, and the others."""
    free = rng.permutation(np.setdiff1d(np.arange(len(pool.x)), avoid))
    return free[:most], free[most:]


def near_duplicate(x: Floats) -> float:
    """The cosine from which two of these embeddings [N, D] count as one image."""
    sample = unit_rows(x[:: max(len(x) // SAMPLE, 1)][:SAMPLE])
    if len(sample) <= NEIGHBOUR:
        return NEAR_DUPLICATE
    cosines = np.partition(sample @ sample.T, -NEIGHBOUR - 1, axis=1)[:, -NEIGHBOUR - 1]
    return min(max(NEAR_DUPLICATE, 1 - NEARER * (1 - float(np.median(cosines)))), COPY)


def distinct(pool: Pool, order: Indices, wanted: int, avoid: Indices) -> Indices:
    """The first `wanted` rows in `order` with no near-duplicate before them nor in `avoid`.

    `order` and `avoid` are rows of the pool. Fewer when there are no more.
    """
    x, limit = pool.x, near_duplicate(pool.x)
    kept: list[int] = []
    for start in range(0, len(order), block := max(2 * wanted, 100)):
        rows = order[start : start + block]
        units = unit_rows(x[rows])
        before = unit_rows(x[np.concatenate([avoid, np.array(kept, np.intp)])])
        free = np.all(units @ before.T <= limit, axis=1)
        near = units @ units.T > limit
        for index, row in enumerate(rows):
            if len(kept) == wanted:
                break
            if free[index]:
                kept.append(int(row))
                free &= ~near[index]
        if len(kept) == wanted:
            break
    return np.array(kept, np.intp)


def finished(pool: Pool, ranked: Indices, rest: Indices, k: int, avoid: Indices) -> list[int]:
    """The first k of `ranked` rows, and then of `rest`, without near-duplicates."""
    left = rest[~np.isin(rest, ranked)]
    return [int(row) for row in distinct(pool, np.concatenate([ranked, left]), k, avoid)]


def with_spare(k: int) -> int:
    """How many to choose for k, since some may turn out to be near-duplicates."""
    return k + k // 2 + 10


def clusters(rows: Float32s, k: int, rng: np.random.Generator) -> tuple[Indices, Float32s]:
    """k-means: the cluster [n] of each of n rows, and the squared distance [n] to its centre.

    Lloyd's iterations from a k-means++ start (Arthur and Vassilvitskii, SODA 2007), in a random
    projection. Fewer than k clusters when fewer rows differ.
    """
    rows = projected(rows, rng)
    centres = _scattered(rows, k, rng)
    squares = np.square(rows).sum(axis=1)
    cluster = np.full(len(rows), -1)
    for _ in range(ITERATIONS):
        distances = squares[:, None] - 2 * rows @ centres.T + np.square(centres).sum(axis=1)
        nearest = distances.argmin(axis=1)
        if np.array_equal(nearest, cluster):
            break
        cluster = nearest
        sums = np.zeros_like(centres)
        np.add.at(sums, cluster, rows)
        sizes = np.bincount(cluster, minlength=len(centres))
        filled = sizes > 0
        centres[filled] = sums[filled] / sizes[filled, None].astype(np.float32)
    return cluster, np.square(rows - centres[cluster]).sum(axis=1)


def spread_out(rows: Float32s, k: int, rng: np.random.Generator) -> Indices:
    """The first of each of k clusters of rows [n, D], filled up to k with the first others.

    In the order of rows.
    """
    cluster, _ = clusters(rows, k, rng)
    first = np.unique(cluster, return_index=True)[1]
    rest = np.setdiff1d(np.arange(len(rows)), first)
    return np.sort(np.concatenate([first, rest[: k - len(first)]]))


def projected(rows: Float32s, rng: np.random.Generator) -> Float32s:
    """Rows [n, D] in PROJECTED dimensions at random, where they have more."""
    if rows.shape[1] <= PROJECTED:
        return rows
    projection = rng.normal(size=(rows.shape[1], PROJECTED)) / PROJECTED**0.5
    nearby: Float32s = rows @ projection.astype(np.float32)
    return nearby


def _scattered(rows: Float32s, k: int, rng: np.random.Generator) -> Float32s:
    """Up to k different rows, each drawn in proportion to its squared distance to those before."""
    chosen = [int(rng.integers(len(rows)))]
    distances = np.square(rows - rows[chosen[0]]).sum(axis=1)
    # Rounding leaves equal rows a little apart.
    distances[distances < 1e-9] = 0
    while len(chosen) < k:
        cumulated = np.cumsum(distances, dtype=np.float64)
        if cumulated[-1] <= 0:
            break
        index = int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"))
        chosen.append(min(index, len(rows) - 1))
        nearer = np.square(rows - rows[chosen[-1]]).sum(axis=1)
        nearer[nearer < 1e-9] = 0
        np.minimum(distances, nearer, out=distances)
    return rows[chosen].copy()
