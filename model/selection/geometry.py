"""Near-duplicates, clusters and random subsets of embeddings, in numpy."""

import numpy as np

from model.arrays import Float32s, Floats, Indices
from model.heads.features import fitting_power, normalise
from model.selection.registry import Pool

# Cosine above which two images look the same to an annotator. EfficientNet-Lite0 gives 0.9928 to
# 0.9972 for a photograph saved again or brightened, at most 0.9948 for two of 2,000 textile images.
NEAR_DUPLICATE = 0.995
# Fine-tuned features bring all images of a class together: there, a near-duplicate must be nearer
# than a row's neighbours, by this share of their distance.
NEARER = 0.2
SAMPLE = 500  # rows whose neighbours are measured
NEIGHBOUR = 10  # the rank of the neighbour
COPY = 0.9999  # a copy of an image is a duplicate wherever it is

# A random projection to this many dimensions keeps distances within ten percent or so (Johnson
# and Lindenstrauss), which is enough for clusters, at a tenth of the work.
PROJECTED = 128

ITERATIONS = 20

COMPONENTS = 50  # of half-whitened rows
SPARE, POWERS = 10, 2  # of the range finder
FLAT = 1e-4  # variance, as a share of the largest, below which a component is noise


def unit_rows(x: Floats) -> Float32s:
    """Normalise embeddings [N, D] to length one, in float32."""
    return normalise(x, 1.0)


def head_features(pool: Pool, x: Floats) -> Float32s:
    """Transform embeddings [n, D] as the heads of the pool do, to length one: [n, D]."""
    if not len(x):
        return np.zeros((0, pool.x.shape[1]), np.float32)
    return normalise(x, fitting_power(pool.x[:SAMPLE]))


def random_subset(
    pool: Pool, avoid: Indices, size: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Draw `size` of the pool's rows that aren't in `avoid`; return them and the other rows."""
    free = rng.permutation(np.setdiff1d(np.arange(len(pool.x)), avoid))
    return free[:size], free[size:]


def duplicate_threshold(x: Floats) -> float:
    """The cosine above which two of these embeddings [N, D] count as near-duplicates."""
    sample = unit_rows(x[:: max(len(x) // SAMPLE, 1)][:SAMPLE])
    if len(sample) <= NEIGHBOUR:
        return NEAR_DUPLICATE
    cosines = np.partition(sample @ sample.T, -NEIGHBOUR - 1, axis=1)[:, -NEIGHBOUR - 1]
    return min(max(NEAR_DUPLICATE, 1 - NEARER * (1 - float(np.median(cosines)))), COPY)


def without_duplicates(pool: Pool, order: Indices, count: int, avoid: Indices) -> Indices:
    """Choose the first `count` rows in `order`, without near-duplicates of earlier or `avoid` rows.

    `order` and `avoid` are rows of the pool. Returns fewer when there are no more.
    """
    x, limit = pool.x, duplicate_threshold(pool.x)
    chosen: list[int] = []
    for start in range(0, len(order), block := max(2 * count, 100)):
        rows = order[start : start + block]
        units = unit_rows(x[rows])
        before = unit_rows(x[np.concatenate([avoid, np.array(chosen, np.intp)])])
        free = np.all(units @ before.T <= limit, axis=1)
        near = units @ units.T > limit
        for index, row in enumerate(rows):
            if len(chosen) == count:
                break
            if free[index]:
                chosen.append(int(row))
                free &= ~near[index]
        if len(chosen) == count:
            break
    return np.array(chosen, np.intp)


def top_without_duplicates(
    pool: Pool, ranked: Indices, rest: Indices, k: int, avoid: Indices
) -> list[int]:
    """Choose the first k of `ranked` rows, then of `rest`, without near-duplicates."""
    left = rest[~np.isin(rest, ranked)]
    return [int(row) for row in without_duplicates(pool, np.concatenate([ranked, left]), k, avoid)]


def oversampled(k: int) -> int:
    """The number of rows to rank for k, as some may be near-duplicates."""
    return k + k // 2 + 10


def half_whitened(rows: Float32s, rng: np.random.Generator) -> Float32s:
    """Transform rows [n, D] to principal components, each divided by its deviation's root: [n, d].

    What most images share, such as their background, is in a few strong components, and outweighs
    the rest less so; division by the deviation itself would make noise as strong as all else. The
    components, at most COMPONENTS, are those of a randomised range finder (Halko, Martinsson,
    Tropp: Finding structure with randomness, SIAM Review 2011).
    """
    centred = rows - rows.mean(axis=0)
    range_ = centred.T @ rng.normal(size=(len(rows), COMPONENTS + SPARE)).astype(np.float32)
    for _ in range(POWERS):
        range_ = centred.T @ (centred @ np.linalg.qr(range_)[0])
    basis = np.linalg.qr(range_)[0]
    components = centred @ basis
    variances, directions = np.linalg.eigh(components.T @ components / max(len(rows), 1))
    kept = np.flatnonzero(variances > FLAT * max(float(variances[-1]), 1e-12))[-COMPONENTS:]
    half: Float32s = components @ (directions[:, kept] / variances[kept] ** 0.25)
    return half


def clusters(rows: Float32s, k: int, rng: np.random.Generator) -> tuple[Indices, Float32s]:
    """Cluster n rows by k-means: cluster numbers [n] and squared distances to the centre [n].

    Lloyd's iterations from a k-means++ start (Arthur and Vassilvitskii, SODA 2007), in a random
    projection. Fewer than k clusters when fewer rows differ.
    """
    rows = projected(rows, rng)
    centres = _kmeans_plus_plus(rows, k, rng)
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


def diverse_rows(rows: Float32s, k: int, rng: np.random.Generator) -> Indices:
    """Choose the first row of each of k clusters of rows [n, D], filled up to k with other rows.

    In the order of rows.
    """
    cluster, _ = clusters(rows, k, rng)
    first = np.unique(cluster, return_index=True)[1]
    rest = np.setdiff1d(np.arange(len(rows)), first)
    return np.sort(np.concatenate([first, rest[: k - len(first)]]))


def projected(rows: Float32s, rng: np.random.Generator) -> Float32s:
    """Project rows [n, D] randomly to PROJECTED dimensions, if they have more."""
    if rows.shape[1] <= PROJECTED:
        return rows
    projection = rng.normal(size=(rows.shape[1], PROJECTED)) / PROJECTED**0.5
    nearby: Float32s = rows @ projection.astype(np.float32)
    return nearby


def _kmeans_plus_plus(rows: Float32s, k: int, rng: np.random.Generator) -> Float32s:
    """Draw up to k different rows by k-means++, each by its squared distance to those before."""
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
