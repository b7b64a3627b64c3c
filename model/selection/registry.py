"""Strategies for choosing what is labelled next, one file each, and what they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.registry import Registry


@dataclass(frozen=True)
class Pick:
    """One image chosen to be labelled."""

    index: int  # its row in the pool
    strategy: str  # which one chose it
    probability: float | None  # of being chosen, where chance alone decided; else None


@dataclass(frozen=True)
class Pool:
    """What can be chosen from. Rows are finite."""

    x: NDArray[np.floating]  # [N, D] embeddings
    probabilities: NDArray[np.floating] | None  # [N, C], None while nothing can be predicted
    seed: int


class Strategy(Protocol):
    """A way to choose."""

    def choose(self, pool: Pool, k: int, avoid: NDArray[np.intp]) -> list[int]:
        """At most k rows of the pool, best first, no two near-duplicates.

        None is in `avoid`, rows that are chosen already, nor a near-duplicate of one of them. Fewer
        than k when the pool has no more.
        """
        ...


STRATEGIES: Registry[Callable[[], Strategy]] = Registry("selection strategy", "model.selection")
