"""Which annotators give good labels, and which labels are worth a second look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.annotators.ballot import Annotator, Ballot
from model.annotators.consensus import NONE, consensus, consensus_by_class
from model.annotators.label_quality import doubtful, label_quality, label_quality_by_class
from model.annotators.soft_labels import MOST_CELLS
from model.arrays import Bools, Floats
from model.statistics.calibration import fit_sigmoid_temperature, fit_temperature, sigmoid, softmax
from model.targets.encoding import plain_value, value_of
from model.targets.schema import TargetSchema, Value
from model.training.control import ControlResult, agree
from store.tasks.units import UnitId, item_of, task_of
from store.versions.label_reviews import ContestedLabel, Opinion, Rating, Review, SuspiciousLabel

MOST_LISTED = 500  # labels of each list, for one control
THERE = 0.5  # the probability from which a class is said to be there


@dataclass(frozen=True)
class _Opinions:
    """What is thought of N labels: by a model that has not seen them, and by all together."""

    expected: list[Value]  # [N] by the model
    quality: Floats  # [N] of the label as it is, by the model; NaN where it can't tell
    meant: list[Value]  # [N] by annotators and model together
    sure: Floats  # [N] probability that this is right
    annotators: dict[Annotator, float]  # their quality


def review(results: Mapping[str, ControlResult], at: float) -> Review:
    """Look at all labels that a head, by control, has answered for that had not seen them.

    Numbers have no probability: of them disagreement is told, but no single label is in doubt.

    Args:
        at: when the labels were read, in seconds since 1970.
    """
    ratings: list[Rating] = []
    suspicious: list[SuspiciousLabel] = []
    contested: list[ContestedLabel] = []
    for control, result in results.items():
        ballot = result.honest.ballot
        if ballot is None or not ballot.counts.any():
            continue
        voted = ballot.counts > 0
        seen, outputs = result.honest.part(voted), result.honest_outputs[voted]
        looked = replace(result, honest=seen, honest_outputs=outputs)
        opinions = _OPINIONS[seen.labels.form](looked)
        ratings += _ratings(control, looked, opinions)
        suspicious += _suspicious(control, looked, opinions)
        contested += _contested(control, looked, opinions)
    return Review(at, ratings, suspicious, contested)


def _single(result: ControlResult) -> _Opinions:
    """Of one class each."""
    data, outputs = result.honest, result.honest_outputs
    y, names, ballot = data.labels.y, data.labels.names, _ballot(result)
    p = softmax(outputs, temperature=fit_temperature(outputs, y))
    votes, truth = ballot.by_row(names)
    cast = votes != NONE
    rows, columns = np.flatnonzero(cast.any(axis=1)), np.flatnonzero(cast.any(axis=0))
    agreed = consensus(votes[np.ix_(rows, columns)], p[rows], truth[rows])
    meant, sure = y.copy(), np.ones(len(y))
    meant[rows], sure[rows] = agreed.labels, agreed.quality
    values = [value_of([name], data.target) for name in names]
    voters = [ballot.annotators[column] for column in columns]
    return _Opinions(
        [values[index] for index in p.argmax(axis=1)],
        label_quality(p, y),
        [values[index] for index in meant],
        sure,
        dict(zip(voters, agreed.annotators.tolist(), strict=True)),
    )


def _multi(result: ControlResult) -> _Opinions:
    """Of several classes, of which each is there or not; as sure as the least sure of them."""
    data, outputs = result.honest, result.honest_outputs
    y, names, ballot = data.labels.y, data.labels.names, _ballot(result)
    p = sigmoid(outputs, temperature=fit_sigmoid_temperature(outputs, y))
    soft = np.nan_to_num(y.astype(np.float64))
    annotators: dict[Annotator, float] = {}
    shared = np.flatnonzero(ballot.counts > 1)
    if len(shared) and len(shared) * len(ballot.annotators) * len(names) <= MOST_CELLS:
        part = ballot.part(shared)
        votes, truth = part.by_class(names)
        soft[shared], quality = consensus_by_class(votes, p[shared], truth)
        annotators = dict(zip(part.annotators, quality.tolist(), strict=True))
    return _Opinions(
        _sets(p, names, data.target),
        label_quality_by_class(p, y),
        _sets(soft, names, data.target),
        np.maximum(soft, 1 - soft).min(axis=1),
        annotators,
    )


def _sets(p: Floats, names: Sequence[str], target: TargetSchema) -> list[Value]:
    return [value_of([names[i] for i in np.flatnonzero(row >= THERE)], target) for row in p]


def _number(result: ControlResult) -> _Opinions:
    """Of a number: what annotators mean together is the label as it is; no label is in doubt."""
    data = result.honest
    alike = [
        np.mean(agree([vote.value for vote in votes], [value] * len(votes), result.head))
        for votes, value in zip(_ballot(result).tasks, data.values, strict=True)
    ]
    expected = result.head.decide(result.honest_outputs, data.target)
    return _Opinions(expected, np.ones(len(alike)), data.values, np.array(alike), {})


_OPINIONS = {"single": _single, "multi": _multi, "number": _number}


def _ballot(result: ControlResult) -> Ballot:
    assert result.honest.ballot is not None, "looked at before"
    return result.honest.ballot


def _ratings(control: str, result: ControlResult, opinions: _Opinions) -> list[Rating]:
    ballot = _ballot(result)
    cast = [(row, vote) for row, votes in enumerate(ballot.tasks) for vote in votes]
    rows = np.array([row for row, _ in cast])
    values = [vote.value for _, vote in cast]
    expected = agree([opinions.expected[row] for row in rows], values, result.head)
    meant = agree([opinions.meant[row] for row in rows], values, result.head)
    shared = ballot.counts[rows] > 1
    column = {name: index for index, name in enumerate(ballot.annotators)}
    whose = np.array([column[vote.annotator] for _, vote in cast])
    found = []
    for name, index in column.items():
        own = whose == index
        quality = opinions.annotators.get(name, np.nan)
        found.append(
            Rating(
                control=control,
                annotator=name,
                labels=int(own.sum()),
                shared=int((own & shared).sum()),
                agreement=_share(meant[own & shared]),
                expected=_share(expected[own]),
                quality=None if np.isnan(quality) else round(quality, 4),
            )
        )
    return sorted(found, key=lambda rating: (rating.quality is None, rating.quality or 0.0))


def _share(right: Bools) -> float | None:
    return round(float(right.mean()), 4) if len(right) else None


def _suspicious(control: str, result: ControlResult, opinions: _Opinions) -> list[SuspiciousLabel]:
    """Labels that one annotator alone gave, and that nobody calls ground truth."""
    data, ballot = result.honest, _ballot(result)
    found = []
    for row in doubtful(opinions.quality):
        vote = ballot.tasks[row][-1]
        if len(ballot.tasks[row]) > 1 or vote.ground_truth or opinions.expected[row] == vote.value:
            continue
        found.append(
            SuspiciousLabel(
                control=control,
                task=task_of(UnitId(int(data.tasks[row]))),
                item=item_of(UnitId(int(data.tasks[row]))),
                given=plain_value(data.values[row]),
                quality=round(float(opinions.quality[row]), 5),
                likely=plain_value(opinions.expected[row]),
                annotator=vote.annotator,
            )
        )
    return found[:MOST_LISTED]


def _contested(control: str, result: ControlResult, opinions: _Opinions) -> list[ContestedLabel]:
    """Tasks whose annotators differ, unless one of them is ground truth."""
    data, ballot = result.honest, _ballot(result)
    found = []
    for row in np.argsort(opinions.sure, kind="stable"):
        votes = ballot.tasks[row]
        values = [vote.value for vote in votes]
        if any(vote.ground_truth for vote in votes):
            continue
        if agree(values, [data.values[row]] * len(votes), result.head).all():
            continue
        sides: dict[Value, list[Annotator]] = {}
        for vote in votes:
            sides.setdefault(vote.value, []).append(vote.annotator)
        found.append(
            ContestedLabel(
                control=control,
                task=task_of(UnitId(int(data.tasks[row]))),
                item=item_of(UnitId(int(data.tasks[row]))),
                opinions=[Opinion(plain_value(value), who) for value, who in sides.items()],
                likely=plain_value(opinions.meant[row]),
                quality=round(float(opinions.sure[row]), 4),
            )
        )
        if len(found) == MOST_LISTED:
            break
    return found
