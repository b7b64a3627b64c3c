"""What images count as that several annotators have labelled: soft labels where they disagree."""

from dataclasses import dataclass, replace

import numpy as np

from model.annotators.ballot import Annotator, Ballot
from model.annotators.consensus import NONE, consensus, consensus_by_class, decide
from model.arrays import Float32s, Floats, Int64s
from model.evaluation.out_of_fold import out_of_fold_outputs
from model.statistics.calibration import fit_sigmoid_temperature, fit_temperature, sigmoid, softmax
from model.targets.encoding import Encoded

MOST_CELLS = 100_000_000  # tasks × annotators × classes; with more, labels stay as they are


@dataclass(frozen=True)
class Settled:
    """What N images count as.

    `decided` is what an evaluation takes for the truth: no model has a say in it. `fitted` is what
    a head is fitted on: of M rows, `rows` [M] of the images, each of which counts `weight` [M];
    None where each counts 1.
    """

    decided: Encoded
    fitted: Encoded
    rows: Int64s
    weight: Float32s | None
    quality: dict[Annotator, float]  # of the annotators

    @property
    def first(self) -> Int64s:
        """[N] the first of each image's rows."""
        return np.unique(self.rows, return_index=True)[1].astype(np.int64)

    def decide(self, labels: Encoded, ballot: Ballot) -> Encoded:
        """The labels of other images, ties decided by what is known of these annotators."""
        if labels.form != "single" or not self.quality:
            return labels
        votes, truth = ballot.by_row(labels.names)
        quality = np.array([self.quality.get(name, np.nan) for name in ballot.annotators])
        voted = (votes != NONE).any(axis=1)
        y = labels.y.copy()
        if voted.any():
            y[voted] = decide(votes[voted], quality, truth[voted])
        return replace(labels, y=y)


def unsettled(labels: Encoded) -> Settled:
    """The labels as they are."""
    return Settled(labels, labels, np.arange(len(labels.y), dtype=np.int64), None, {})


def settle(x: Floats, labels: Encoded, groups: Int64s, ballot: Ballot, *, seed: int) -> Settled:
    """What images are labelled as, soft where annotators disagree.

    `x` [N, D] are features of a backbone that has not seen the labels, which are what each image is
    labelled as for a start. A model that is fitted on those is one of the judges, always on images
    that it has not seen. Nothing is fitted where no two have labelled the same image.
    """
    unchanged = unsettled(labels)
    shared = np.flatnonzero(ballot.counts > 1)
    size = len(shared) * len(ballot.annotators) * len(labels.names)
    if labels.form == "number" or not len(shared) or size > MOST_CELLS:
        return unchanged
    outputs = out_of_fold_outputs(x, labels, groups, seed=seed)
    if labels.form == "single":
        return _settle_single(labels, ballot, outputs)
    probabilities = sigmoid(outputs, temperature=fit_sigmoid_temperature(outputs, labels.y))
    cast = ballot.part(shared)
    votes, truth = cast.by_class(labels.names)
    soft, quality = consensus_by_class(votes, probabilities[shared], truth)
    y = labels.y.copy()
    y[shared] = np.where(np.isnan(y[shared]), np.nan, soft)  # what nobody could say stays unsaid
    known = dict(zip(cast.annotators, quality.tolist(), strict=True))
    return replace(unchanged, fitted=replace(labels, y=y), quality=known)


def _settle_single(labels: Encoded, ballot: Ballot, outputs: Floats) -> Settled:
    probabilities = softmax(outputs, temperature=fit_temperature(outputs, labels.y))
    votes, truth = ballot.by_row(labels.names)
    voted = np.flatnonzero((votes != NONE).any(axis=1))
    columns = (votes != NONE).any(axis=0)
    votes = votes[voted][:, columns]
    agreed = consensus(votes, probabilities[voted], truth[voted])
    decided = labels.y.copy()
    decided[voted] = agreed.decided
    rows, y, weight = agreed.soft_rows(votes)
    # What nobody's vote speaks of stays as it is: several votes of one person were its majority.
    silent = np.setdiff1d(np.arange(len(labels.y)), voted)
    rows = np.concatenate([voted[rows], silent])
    order = np.argsort(rows, kind="stable")
    y = np.concatenate([y, labels.y[silent]])[order]
    weight = np.concatenate([weight, np.ones(len(silent), np.float32)])[order]
    names = [name for name, kept in zip(ballot.annotators, columns, strict=True) if kept]
    return Settled(
        decided=replace(labels, y=decided),
        fitted=replace(labels, rows=labels.rows[rows[order]], y=y),
        rows=rows[order],
        weight=weight,
        quality=dict(zip(names, agreed.annotators.tolist(), strict=True)),
    )
