"""An oracle strategy: in each round the best of many batches by the test set.

A greedy look-ahead of one round over batches that strategies propose, and random ones. It cheats:
no strategy can know what it knows, and one that looked further ahead could do better still.
"""

import numpy as np
from numpy.typing import NDArray

from model.active_learning.simulation import Asked, Chooser, Replay
from model.heads import FitData, fit
from model.selection import rows_by

PROPOSE = ("herding", "margin", "badge", "bait", "balanced", "maxherding", "typiclust")
RANDOM = 8  # batches


def oracle(data: Replay) -> Chooser:
    """The chooser that looks at the test set."""
    labels = {row.tobytes(): int(y) for row, y in zip(_exact(data.x), data.y, strict=True)}

    def choose(asked: Asked) -> NDArray[np.intp]:
        assert asked.head is not None
        pool, head = asked.pool, asked.head
        batches = [rows_by(name, pool, asked.k) for name in PROPOSE]
        rng = np.random.default_rng(pool.seed)
        batches += [rng.choice(len(pool.x), asked.k, replace=False) for _ in range(RANDOM)]
        best, most = batches[0], -1.0
        for rows in batches:
            y = [labels[row.tobytes()] for row in _exact(pool.x[rows])]
            grown = fit(
                FitData.of(
                    np.concatenate([pool.labelled, pool.x[rows]]),
                    np.concatenate([asked.y, y]),
                    head.classes,
                    seed=0,
                    warm_start=head,
                    settings_of=head,
                ),
                kind=head.kind,
            )
            right = float(np.mean(grown.logits(data.test_x).argmax(axis=1) == data.test_y))
            if right > most:
                best, most = rows, right
        return best

    return choose


def _exact(x: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.ascontiguousarray(x, np.float32)
