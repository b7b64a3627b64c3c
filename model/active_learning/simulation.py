"""Replays labelling with a strategy on data whose labels are known.

It needs scikit-learn, as fitting does.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.arrays import Floats, Indices
from model.evaluation.head_selection import GROWTH
from model.heads import FitData, Head, choose_kind, fit
from model.selection import rows_by
from model.selection.registry import STRATEGIES, Pool, Probabilities
from model.statistics.calibration import softmax

JOINT = "+"  # in an arm's name: the first batch by what stands before it, the rest by the other
SPLIT = 0.25  # of the rows are tested on where no test set is given


@dataclass(frozen=True)
class Replay:
    """Images whose labels are known: features [N, D], labels [N] of 0 … C − 1, and a test set."""

    x: Floats
    y: Indices
    test_x: Floats
    test_y: Indices

    @property
    def classes(self) -> tuple[str, ...]:
        """A name for each class."""
        highest = max(self.y.max(initial=0), self.test_y.max(initial=0))
        return tuple(str(code) for code in range(int(highest) + 1))


@dataclass(frozen=True)
class Round:
    """After one batch: labels so far, accuracy on the test set, and what the choice took."""

    labels: int
    accuracy: float
    query_seconds: float


@dataclass(frozen=True)
class Asked:
    """The inputs of a chooser: the pool, labels [L] of `pool.labelled`, and the head."""

    pool: Pool
    y: Indices
    head: Head | None  # None before the first label
    k: int


Chooser = Callable[[Asked], Sequence[int] | Indices]


def by_name(arm: str) -> Chooser:
    """The chooser of a strategy's name, or of two with `+` between them.

    A strategy that needs predictions leaves the first batch to `auto`. UnknownNameError.
    """
    first, _, then = arm.partition(JOINT)
    for name in (first, then) if then else (first,):
        STRATEGIES.get(name)

    def choose(asked: Asked) -> Indices:
        name = first if not then or asked.head is None else then
        return rows_by(name, asked.pool, asked.k)

    return choose


def split(x: Floats, y: Indices, *, seed: int, share: float = SPLIT) -> Replay:
    """A part of the rows, at random, as the test set."""
    order = np.random.default_rng([seed, 3]).permutation(len(y))
    tested = order[: round(share * len(y))]
    rest = order[len(tested) :]
    return Replay(x[rest], y[rest], x[tested], y[tested])


def replay(
    data: Replay,
    choose: Chooser,
    *,
    batch: int,
    rounds: int,
    seed: int,
    first: Indices | None = None,
    tell: Callable[[Round], None] | None = None,
) -> list[Round]:
    """Label `batch` images a round as `choose` says, and measure the head after each round.

    `first` are rows to begin with instead of asking. Ends early when all is labelled.
    """
    x = np.asarray(data.x, np.float32)
    known: Indices = np.zeros(0, np.intp)
    head: Head | None = None
    learner = _Learner(data.classes, seed)
    done: list[Round] = []
    for number in range(rounds):
        free = np.setdiff1d(np.arange(len(x)), known)
        if not len(free):
            break
        if number == 0 and first is not None:
            chosen, seconds = first, 0.0
        else:
            began = time.perf_counter()
            pool = _pool(x[free], x[known], head, seed * 1000 + number)
            asked = Asked(pool, data.y[known], head, min(batch, len(free)))
            chosen = free[np.asarray(choose(asked), np.intp)]
            seconds = time.perf_counter() - began
        known = np.append(known, chosen)
        head = learner.fit(x[known], data.y[known])
        right = head.logits(data.test_x).argmax(axis=1) == data.test_y
        done.append(Round(len(known), float(right.mean()), seconds))
        if tell is not None:
            tell(done[-1])
    return done


def _pool(x: Floats, known: Floats, head: Head | None, seed: int) -> Pool:
    if head is None:
        return Pool(x, (), seed, known)

    def predict(rows: Floats) -> tuple[Probabilities, ...]:
        return (softmax(head.logits(rows)),)

    return Pool(x, predict(x), seed, known, predict)


class _Learner:
    """Heads of one run. The strength is chosen anew when labels have grown by a quarter."""

    def __init__(self, classes: tuple[str, ...], seed: int) -> None:
        self._classes, self._seed = classes, seed
        self._settings: Head | None = None
        self._chosen_at = 0
        self._last: Head | None = None

    def fit(self, x: Floats, y: Indices) -> Head:
        kind = choose_kind(y)
        settings = self._settings
        if settings is not None and (settings.kind != kind or len(y) >= GROWTH * self._chosen_at):
            settings = None
        head = fit(
            FitData.of(
                x, y, self._classes, seed=self._seed, warm_start=self._last, settings_of=settings
            ),
            kind=kind,
        )
        if settings is None:
            self._settings, self._chosen_at = head, len(y)
        self._last = head
        return head
