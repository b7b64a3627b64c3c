"""Groups near-duplicate images, which must not be in both training and test rows."""

from collections.abc import Sequence

import numpy as np

from model.arrays import Floats, Int64s

# Cosine. Different images of one texture were seen at 0.995, JPEGs saved again at 0.993 and 0.997:
# embeddings alone can't separate them, and joining different images costs more.
THRESHOLD = 0.997
MOST_COMPARED = 5_000  # rows; above, only images of equal keys are joined
BLOCK = 1_000  # rows compared at a time
LEAST_OWNERS = 10  # from which on an image that most of them have joins none


def near_duplicate_groups(
    x: Floats,
    keys: Sequence[str],
    owners: Sequence[int] | None = None,
) -> Int64s:
    """Return group numbers [N], equal for images that are nearly the same, directly or by a chain.

    Args:
        x: embeddings [N, D].
        keys: [N] hashes of the images' bytes.
        owners: [N] the tasks of the images: those of one task are in one group. An image that more
            than half of the tasks have, such as a colour chart, joins no tasks.
    """
    first: dict[str, int] = {}
    parent = np.array([first.setdefault(key, row) for row, key in enumerate(keys)], np.int64)
    if 1 < len(x) <= MOST_COMPARED:
        unit = x.astype(np.float32)
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
        for start in range(0, len(unit), BLOCK):
            close = unit[start : start + BLOCK] @ unit.T >= THRESHOLD
            for left, near in enumerate(close, start):
                # By groups, not by rows: of n frames of one scene there are n² pairs.
                for right in np.unique(parent[near]):
                    _join(parent, left, int(right))
    groups = _groups(parent)
    if owners is None or len(set(owners)) == len(owners):
        return groups
    having: dict[int, set[int]] = {}
    for group, owner in zip(groups.tolist(), owners, strict=True):
        having.setdefault(group, set()).add(owner)
    count = len(set(owners))
    own: dict[int, int] = {}
    parent = np.arange(len(keys))
    for row, (group, owner) in enumerate(zip(groups.tolist(), owners, strict=True)):
        if count < LEAST_OWNERS or 2 * len(having[group]) <= count:
            _join(parent, row, group)  # a group's number is one of its rows
        _join(parent, row, own.setdefault(owner, row))
    return _groups(parent)


def _groups(parent: Int64s) -> Int64s:
    return np.array([_root(parent, row) for row in range(len(parent))], np.int64)


def _root(parent: Int64s, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = int(parent[row])
    return row


def _join(parent: Int64s, left: int, right: int) -> None:
    a, b = _root(parent, left), _root(parent, right)
    if a != b:
        parent[max(a, b)] = min(a, b)
