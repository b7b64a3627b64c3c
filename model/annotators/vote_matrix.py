"""The votes of annotators on one control."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.annotators.consensus import NONE
from model.arrays import Indices, Int64s

Annotator = int | None  # Label Studio's user id; None for all whose it doesn't say


@dataclass(frozen=True)
class Vote:
    """One annotator's label of one image."""

    annotator: Annotator
    value: Hashable
    ground_truth: bool


@dataclass(frozen=True)
class VoteMatrix:
    """The votes on N images, of each image in order of time."""

    rows: Sequence[Sequence[Vote]]

    def part(self, rows: Indices) -> "VoteMatrix":
        """Some of the images."""
        return VoteMatrix([self.rows[row] for row in rows])

    @property
    def annotators(self) -> tuple[Annotator, ...]:
        """All A who have voted, by id."""
        names = {vote.annotator for votes in self.rows for vote in votes}
        return tuple(sorted(names, key=lambda name: (name is not None, name or 0)))

    @property
    def counts(self) -> Int64s:
        """[N] how many have voted."""
        return np.array([len(votes) for votes in self.rows], np.int64)

    @property
    def truths(self) -> list[Hashable | None]:
        """[N] the newest ground truth."""
        found: list[Hashable | None] = []
        for votes in self.rows:
            values = [vote.value for vote in votes if vote.ground_truth]
            found.append(values[-1] if values else None)
        return found

    def by_row(self, index_of: Callable[[Hashable], int]) -> tuple[Int64s, Int64s]:
        """Votes [N, A] and truth [N] where an image has one class, as its index or NONE.

        `index_of` gives the index of a value's class.
        """
        column = {name: index for index, name in enumerate(self.annotators)}
        table = np.full((len(self.rows), len(column)), NONE, np.int64)
        for row, votes in enumerate(self.rows):
            for vote in votes:
                table[row, column[vote.annotator]] = index_of(vote.value)
        truth = [NONE if value is None else index_of(value) for value in self.truths]
        return table, np.array(truth, np.int64)

    def by_class(
        self, classes: int, indices_of: Callable[[Hashable], Sequence[int]]
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
        """Votes [N, A, C] and truth [N, C] where an image may have several: 1, 0 or NONE.

        `indices_of` gives the indices of a value's classes, of which there are `classes` in all.
        """
        column = {name: index for index, name in enumerate(self.annotators)}
        table = np.full((len(self.rows), len(column), classes), NONE, np.int8)
        truth = np.full((len(self.rows), classes), NONE, np.int8)
        for row, votes in enumerate(self.rows):
            for vote in votes:
                table[row, column[vote.annotator]] = 0
                table[row, column[vote.annotator], indices_of(vote.value)] = 1
        for row, value in enumerate(self.truths):
            if value is not None:
                truth[row] = 0
                truth[row, indices_of(value)] = 1
        return table, truth
