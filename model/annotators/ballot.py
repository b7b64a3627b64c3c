"""The votes of annotators on one control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.annotators.consensus import NONE
from model.arrays import Indices, Int64s
from model.targets.encoding import Form, names_in
from model.targets.schema import Value

Annotator = int | None  # Label Studio's user id; None for all whose it doesn't say


@dataclass(frozen=True)
class Vote:
    """One annotator's label of one unit."""

    annotator: Annotator
    value: Value
    ground_truth: bool


@dataclass(frozen=True)
class Ballot:
    """The votes of N tasks on one control, in order of time."""

    tasks: Sequence[Sequence[Vote]]

    def part(self, rows: Indices) -> "Ballot":
        """Some of the tasks."""
        return Ballot([self.tasks[row] for row in rows])

    @property
    def annotators(self) -> tuple[Annotator, ...]:
        """All who have voted, by id."""
        names = {vote.annotator for votes in self.tasks for vote in votes}
        return tuple(sorted(names, key=lambda name: (name is not None, name or 0)))

    @property
    def counts(self) -> Int64s:
        """[N] how many have voted."""
        return np.array([len(votes) for votes in self.tasks], np.int64)

    @property
    def truths(self) -> list[Value | None]:
        """[N] the newest ground truth."""
        found: list[Value | None] = []
        for votes in self.tasks:
            values = [vote.value for vote in votes if vote.ground_truth]
            found.append(values[-1] if values else None)
        return found

    def by_row(self, names: Sequence[str]) -> tuple[Int64s, Int64s]:
        """Where each has one class: votes [N, A] and truth [N], indices into `names` or NONE."""
        code = {name: index for index, name in enumerate(names)}
        column = {name: index for index, name in enumerate(self.annotators)}
        table = np.full((len(self.tasks), len(column)), NONE, np.int64)
        for row, votes in enumerate(self.tasks):
            for vote in votes:
                table[row, column[vote.annotator]] = _index(vote.value, code)
        truth = [NONE if value is None else _index(value, code) for value in self.truths]
        return table, np.array(truth, np.int64)

    def by_class(self, names: Sequence[str]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
        """Where each may have several: votes [N, A, C] and truth [N, C], 1, 0 or NONE."""
        code = {name: index for index, name in enumerate(names)}
        column = {name: index for index, name in enumerate(self.annotators)}
        table = np.full((len(self.tasks), len(column), len(names)), NONE, np.int8)
        truth = np.full((len(self.tasks), len(names)), NONE, np.int8)
        for row, votes in enumerate(self.tasks):
            for vote in votes:
                table[row, column[vote.annotator]] = _there(vote.value, code)
        for row, value in enumerate(self.truths):
            if value is not None:
                truth[row] = _there(value, code)
        return table, truth


def _index(value: Value, code: Mapping[str, int]) -> int:
    named = names_in(value, "single")
    return code.get(named[0], NONE) if len(named) == 1 else NONE


def _there(value: Value, code: Mapping[str, int]) -> npt.NDArray[np.int8]:
    form: Form = "multi"
    there = np.zeros(len(code), np.int8)
    there[[code[name] for name in names_in(value, form) if name in code]] = 1
    return there
