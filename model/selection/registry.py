"""Strategies for choosing what is labelled next, one file each, and what they share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np

from model.arrays import Float32s, Floats, Indices
from model.registry import Registry

Distribution: TypeAlias = Floats  # [N, C], the flatter a row, the less sure
Ask: TypeAlias = Callable[[Floats], tuple[Distribution, ...]]


@dataclass(frozen=True)
class Pick:
    """One image chosen to be labelled."""

    index: int  # its row in the pool
    strategy: str  # which one chose it
    probability: float | None  # of being chosen, where chance alone decided; else None


@dataclass(frozen=True)
class Pool:
    """What can be chosen from. Rows are finite."""

    x: Floats  # [N, D] embeddings
    # [N, C] for each control, the one known least first; none while nothing can be predicted
    controls: tuple[Distribution, ...]
    seed: int
    # [L, D] embeddings of what is labelled, as far as they are at hand
    labelled: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # what the heads say of other embeddings [M, D], like `controls`; None while there are none
    ask: Ask | None = None

    @cached_property
    def doubt(self) -> Float32s:
        """[N] how unsure all controls together are of a row, the mean of their standardised doubts.

        A control's doubt is 1 − margin, the margin being the lead of the best class's probability
        over the second's (Scheffer, Decomain, Wrobel 2001).
        """
        doubts = [1 - margins(p) for p in self.controls]
        if len(doubts) == 1:
            return doubts[0]
        total = np.zeros(len(self.x), np.float32)
        for doubt in doubts:
            total += (doubt - doubt.mean()) / max(float(doubt.std()), 1e-6) / len(doubts)
        return total


def margins(probabilities: Distribution) -> Float32s:
    """The lead [N] of each row's best class over the second, of probabilities [N, C]."""
    p = np.asarray(probabilities, np.float32)
    if p.shape[1] < 2:
        return np.asarray(p.sum(axis=1), np.float32)
    best_two = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    lead: Float32s = best_two[:, 1] - best_two[:, 0]
    return lead


class NeedsPredictionsError(ValueError):
    """A strategy can't choose before anything is predicted."""


class Strategy(Protocol):
    """A way to choose."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """At most k rows of the pool, best first, no two near-duplicates.

        None is in `avoid`, rows that are chosen already, nor a near-duplicate of one of them. Fewer
        than k when the pool has no more. NeedsPredictionsError where it can't begin by itself.
        """
        ...


STRATEGIES: Registry[Callable[[], Strategy]] = Registry("selection strategy", "model.selection")
