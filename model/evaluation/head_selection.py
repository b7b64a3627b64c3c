"""Selects the kind of head by cross-validation, with a bias to the simpler one.

All kinds that are cheap enough answer for the same rows while these are held out. The least
complex one is taken that is not worse than the best by more than a standard error of their paired
difference: the one-standard-error rule of Breiman and others, Classification and Regression Trees,
1984, section 3.4.3, with the pairs taken into account.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools, Indices
from model.heads import FitData, Head, choose_kind, fit_each
from model.heads.registry import HEADS
from model.statistics.folds import grouped_folds

FOLDS = 5

# Below this many labels a comparison is noise: kinds go by `choose_kind`.
LEAST_LABELS = 30
# Labels grow by this much before kinds are compared again.
GROWTH = 1.25

# Rows up to which all five folds are held out in turn; above, three of them, then one is enough to
# compare on.
FIVE_FOLDS_ROWS = 200
THREE_FOLDS_ROWS = 1000

STANDARD_ERRORS = 1.0  # that a simpler kind may be worse than the best


@dataclass(frozen=True)
class Candidate:
    """The accuracy of one kind of head on held-out rows."""

    kind: str
    accuracy: float
    behind: float  # the best one's accuracy minus this one's
    error: float  # the standard error of that


@dataclass(frozen=True)
class Selection:
    """The chosen kind of head, and the comparison it was chosen by."""

    kind: str
    reason: str  # for people
    labels: int  # how many there were
    candidates: tuple[Candidate, ...]  # simplest first; empty when nothing was compared
    left_out: tuple[str, ...]  # kinds that take too long with so many labels

    def due(self, labels: int) -> bool:
        """Whether to compare again, now that there are so many labels."""
        return labels >= GROWTH * self.labels or self.labels >= GROWTH * labels

    def as_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Self:
        """Read the JSON of `as_json`. KeyError or TypeError when it is other JSON."""
        return cls(
            known["kind"],
            known["reason"],
            known["labels"],
            tuple(Candidate(**candidate) for candidate in known["candidates"]),
            tuple(known["left_out"]),
        )


def select(
    data: FitData, *, kinds: Iterable[str] | None = None, last: Selection | None = None
) -> Selection:
    """The kind of head that suits labels of one class each, `data.y` [N] indices into classes.

    Rows of one group are held out together. `kinds` are those to choose among, all without it.
    `last` is kept, and nothing computed, until the labels have grown by a quarter. With very many
    labels the slower kinds aren't tried. The same arguments give the same selection.
    """
    y = np.asarray(data.y, np.intp)
    allowed = sorted(kinds if kinds is not None else HEADS.names(), key=_complexity)
    if last is not None and last.kind in allowed and not last.due(len(y)):
        return last
    if len(allowed) == 1:
        return Selection(allowed[0], "the only kind allowed", len(y), (), ())
    held = _held_out(y, data.groups, data.seed)
    if len(y) < LEAST_LABELS or not held:
        kind = choose_kind(y)
        kind = kind if kind in allowed else allowed[0]
        return Selection(kind, f"{len(y)} labels are too few to compare kinds", len(y), (), ())
    tried = [kind for kind in allowed if _affordable(kind, len(y), len(np.unique(y)))]
    left_out = tuple(kind for kind in allowed if kind not in tried)
    tried = tried or allowed[:1]
    correct = _correct(tried, replace(data, y=y), held)
    return _choose(tried, correct, len(y), left_out)


def _complexity(kind: str) -> tuple[int, str]:
    return HEADS.get(kind)().complexity, kind


def _affordable(kind: str, rows: int, classes: int) -> bool:
    most = HEADS.get(kind)().compared_up_to
    return most is None or rows * classes <= most


def _held_out(y: Indices, groups: NDArray[np.generic], seed: int) -> list[Bools]:
    """Masks [N] of the rows that are held out, one a fold; none where it would teach nothing."""
    folds = grouped_folds(y, groups, FOLDS, seed=seed)
    count = int(folds.max(initial=0)) + 1
    used = FOLDS if len(y) <= FIVE_FOLDS_ROWS else 3 if len(y) <= THREE_FOLDS_ROWS else 1
    masks = [folds == fold for fold in range(min(used, count))]
    usable = count > 1 and any(np.isin(y[mask], y[~mask]).any() for mask in masks)
    return masks if usable and len(np.unique(y)) > 1 else []


def _correct(kinds: list[str], data: FitData, held: list[Bools]) -> Bools:
    """Whether heads of each kind were right on the held-out rows [K, M], fold after fold.

    The strengths that the first fold's rows chose are taken for all: one number is what they tell.
    """
    settings: dict[str, Head] = {}
    right = []
    for test in held:
        heads = fit_each(kinds, data.part(~test), settings)
        settings = settings or heads
        guesses = [heads[kind].logits(data.x[test]).argmax(axis=1) for kind in kinds]
        right.append(np.array(guesses) == data.y[test])
    return np.concatenate(right, axis=1)


def _choose(kinds: list[str], correct: Bools, labels: int, left_out: tuple[str, ...]) -> Selection:
    """By whether each kind [K, M], simplest first, was right on the held-out rows."""
    shares = correct.mean(axis=1)
    best = int(shares.argmax())
    difference = correct[best].astype(np.float64) - correct
    behind = difference.mean(axis=1)
    error = difference.std(axis=1) / np.sqrt(correct.shape[1])
    candidates = tuple(
        Candidate(kind, float(share), float(gap), float(spread))
        for kind, share, gap, spread in zip(kinds, shares, behind, error, strict=True)
    )
    chosen = int(np.argmax(behind <= STANDARD_ERRORS * error))
    reason = f"right on {shares[chosen]:.1%} of {correct.shape[1]} held-out labels"
    if chosen == best:
        reason += ", the most" if len(kinds) > 1 else ""
    else:
        reason += (
            f"; {kinds[best]} on {shares[best]:.1%}, which is no clear difference, "
            f"and {kinds[chosen]} is simpler"
        )
    return Selection(kinds[chosen], reason, labels, candidates, left_out)
