"""The registry of selection strategies, and the pool from which they choose."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np

from model.arrays import Float32s, Floats, Indices
from model.registry import Registry

Probabilities: TypeAlias = Floats  # [N, C], the flatter a row, the less sure
Predict: TypeAlias = Callable[[Floats], tuple[Probabilities, ...]]


@dataclass(frozen=True)
class Pick:
    """An image that was chosen to be labelled."""

    index: int  # its row in the pool
    strategy: str  # that chose it
    probability: float | None  # of being drawn, for a random pick; else None


@dataclass(frozen=True)
class Pool:
    """The images to choose from. All values are finite."""

    x: Floats  # [N, D] embeddings
    # [N, C] for each control, the least certain control first; empty while nothing can be predicted
    probabilities: tuple[Probabilities, ...]
    seed: int
    # [L, D] embeddings of labelled images, as far as they are loaded
    labelled: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # predicts other embeddings [M, D], as `probabilities`; None while there are no heads
    predict: Predict | None = None

    @cached_property
    def uncertainty(self) -> Float32s:
        """[N] the uncertainty of each row: the mean over controls, each standardised.

        A control's uncertainty is 1 − margin, the margin being the difference of the two highest
        probabilities (Scheffer, Decomain, Wrobel 2001).
        """
        of_controls = [1 - margins(p) for p in self.probabilities]
        if len(of_controls) == 1:
            return of_controls[0]
        total = np.zeros(len(self.x), np.float32)
        for uncertainty in of_controls:
            total += (
                (uncertainty - uncertainty.mean())
                / max(float(uncertainty.std()), 1e-6)
                / len(of_controls)
            )
        return total


def margins(probabilities: Probabilities) -> Float32s:
    """[N] the difference of the two highest probabilities in each row of [N, C]."""
    p = np.asarray(probabilities, np.float32)
    if p.shape[1] < 2:
        return np.asarray(p.sum(axis=1), np.float32)
    best_two = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    lead: Float32s = best_two[:, 1] - best_two[:, 0]
    return lead


class NeedsPredictionsError(ValueError):
    """A strategy can't choose without predictions."""


class Strategy(Protocol):
    """A selection strategy."""

    def choose(self, pool: Pool, k: int, avoid: Indices) -> list[int]:
        """Choose at most k rows of the pool, best first, without near-duplicates.

        `avoid` are rows that are chosen already; neither they nor their near-duplicates are chosen
        again. Returns fewer than k when the pool has no more. Raises NeedsPredictionsError.
        """
        ...


STRATEGIES: Registry[Callable[[], Strategy]] = Registry("selection strategy", "model.selection")
