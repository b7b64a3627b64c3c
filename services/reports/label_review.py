"""Reviews labels: the quality of each annotator's, and labels that are probably wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model.annotators.label_quality import doubtful
from model.annotators.vote_matrix import Annotator, VoteMatrix
from model.arrays import Bools
from model.targets.kind import kind_of, value_json
from model.targets.labels import Opinions
from model.targets.learned import Learned
from model.targets.schema import Value
from model.training.control import ControlData, ControlResult
from store.tasks.units import UnitId, item_of, task_of
from store.versions.label_reviews import (
    ContestedLabel,
    Opinion,
    Plain,
    Rating,
    Review,
    SuspiciousLabel,
)

MOST_LISTED = 500  # labels of each list, for one control


def review(results: Mapping[str, ControlResult], at: float) -> Review:
    """Review the labels of each control by its head's out-of-fold answers.

    Numbers have no probability: of them disagreement is told, but no single label is in doubt.

    Args:
        at: when the labels were read, in seconds since 1970.
    """
    ratings: list[Rating] = []
    suspicious: list[SuspiciousLabel] = []
    contested: list[ContestedLabel] = []
    for control, result in results.items():
        reviewed = _reviewed(control, result)
        if reviewed is None:
            continue
        ratings += _ratings(reviewed)
        suspicious += _suspicious(reviewed)
        contested += _contested(reviewed)
    return Review(at, ratings, suspicious, contested)


@dataclass(frozen=True, eq=False)
class _Reviewed:
    """The labels of one control, with the opinions of annotators and model on them."""

    control: str
    data: ControlData
    learned: Learned
    votes: VoteMatrix
    opinions: Opinions

    def agrees(self, first: Sequence[Value], second: Sequence[Value]) -> Bools:
        """Compare values [N] pairwise, within the head's tolerance."""
        schema = self.data.target
        return kind_of(schema).agrees(schema, first, second, tolerance=self.learned.tolerance)

    def plain(self, value: Value) -> Plain:
        """A value as JSON."""
        plain: Plain = value_json(self.data.target, value)
        return plain


def _reviewed(control: str, result: ControlResult) -> _Reviewed | None:
    votes = result.out_of_fold.votes
    if votes is None or not votes.counts.any():
        return None
    voted = votes.counts > 0
    data, outputs = result.out_of_fold.part(voted), result.out_of_fold_outputs[voted]
    assert data.votes is not None, "a part of data with votes has votes"
    opinions = data.learning.opinions(
        data.target, result.head, data.labels, data.values, outputs, data.votes
    )
    return _Reviewed(control, data, result.head, data.votes, opinions)


def _ratings(reviewed: _Reviewed) -> list[Rating]:
    votes, opinions = reviewed.votes, reviewed.opinions
    cast = [(row, vote) for row, of_row in enumerate(votes.rows) for vote in of_row]
    rows = np.array([row for row, _ in cast])
    values = [vote.value for _, vote in cast]
    expected = reviewed.agrees([opinions.expected[row] for row in rows], values)
    meant = reviewed.agrees([opinions.meant[row] for row in rows], values)
    shared = votes.counts[rows] > 1
    column = {name: index for index, name in enumerate(votes.annotators)}
    whose = np.array([column[vote.annotator] for _, vote in cast])
    ratings = []
    for name, index in column.items():
        own = whose == index
        quality = opinions.annotators.get(name, np.nan)
        ratings.append(
            Rating(
                control=reviewed.control,
                annotator=name,
                labels=int(own.sum()),
                shared=int((own & shared).sum()),
                agreement=_share(meant[own & shared]),
                expected=_share(expected[own]),
                quality=None if np.isnan(quality) else round(quality, 4),
            )
        )
    return sorted(ratings, key=lambda rating: (rating.quality is None, rating.quality or 0.0))


def _share(right: Bools) -> float | None:
    return round(float(right.mean()), 4) if len(right) else None


def _suspicious(reviewed: _Reviewed) -> list[SuspiciousLabel]:
    """Labels of a single annotator that are probably wrong; never ground truth."""
    data, votes, opinions = reviewed.data, reviewed.votes, reviewed.opinions
    suspicious = []
    for row in doubtful(opinions.quality):
        vote, expected = votes.rows[row][-1], opinions.expected[row]
        if len(votes.rows[row]) > 1 or vote.ground_truth:
            continue
        if reviewed.agrees([expected], [vote.value]).all():
            continue
        suspicious.append(
            SuspiciousLabel(
                control=reviewed.control,
                task=task_of(UnitId(int(data.tasks[row]))),
                item=item_of(UnitId(int(data.tasks[row]))),
                given=reviewed.plain(data.values[row]),
                quality=round(float(opinions.quality[row]), 5),
                likely=reviewed.plain(expected),
                annotator=vote.annotator,
            )
        )
    return suspicious[:MOST_LISTED]


def _contested(reviewed: _Reviewed) -> list[ContestedLabel]:
    """Tasks whose annotators disagree, without ground truth."""
    data, votes, opinions = reviewed.data, reviewed.votes, reviewed.opinions
    contested = []
    for row in np.argsort(opinions.sure, kind="stable"):
        cast = votes.rows[row]
        values = [vote.value for vote in cast]
        if any(vote.ground_truth for vote in cast):
            continue
        if reviewed.agrees(values, [data.values[row]] * len(cast)).all():
            continue
        sides: dict[Value, list[Annotator]] = {}
        for vote in cast:
            sides.setdefault(vote.value, []).append(vote.annotator)
        contested.append(
            ContestedLabel(
                control=reviewed.control,
                task=task_of(UnitId(int(data.tasks[row]))),
                item=item_of(UnitId(int(data.tasks[row]))),
                opinions=[Opinion(reviewed.plain(value), who) for value, who in sides.items()],
                likely=reviewed.plain(opinions.meant[row]),
                quality=round(float(opinions.sure[row]), 4),
            )
        )
        if len(contested) == MOST_LISTED:
            break
    return contested
