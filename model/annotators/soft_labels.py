"""Soft labels of images that several annotators have labelled differently."""

from dataclasses import dataclass

import numpy as np

from model.annotators.consensus import NONE, consensus
from model.arrays import Bools, Float32s, Float64s, Floats, Int64s, Ints

MOST_CELLS = 100_000_000  # images × annotators × classes; with more, labels stay as they are


@dataclass(frozen=True, eq=False)
class SoftClasses:
    """One class each for N images, soft where annotators disagree: M rows to fit on."""

    decided: Int64s  # [N] classes, by votes alone
    rows: Int64s  # [M] the image of each row, in order
    y: Int64s  # [M] the class of each row
    weight: Float32s  # [M] how much it counts; the rows of an image sum to one
    columns: Bools  # [A] which annotators are rated
    quality: Float64s  # of those annotators


def soft_classes(y: Ints, votes: Ints, truth: Ints, probabilities: Floats) -> SoftClasses:
    """The soft labels of N images.

    Args:
        y: [N] what each image is labelled as so far.
        votes: [N, A] classes, or NONE.
        truth: [N] the class where it is known for certain, or NONE.
        probabilities: [N, C] of a model that has not seen the images.
    """
    voted = np.flatnonzero((votes != NONE).any(axis=1))
    columns = (votes != NONE).any(axis=0)
    cast = votes[voted][:, columns]
    agreed = consensus(cast, probabilities[voted], truth[voted])
    decided = np.array(y, np.int64)
    decided[voted] = agreed.decided
    rows, classes, weight = agreed.soft_rows(cast)
    # What nobody's vote speaks of stays as it is: several votes of one person were its majority.
    silent = np.setdiff1d(np.arange(len(y)), voted)
    rows = np.concatenate([voted[rows], silent])
    order = np.argsort(rows, kind="stable")
    classes = np.concatenate([classes, y[silent]])[order]
    weight = np.concatenate([weight, np.ones(len(silent), np.float32)])[order]
    return SoftClasses(decided, rows[order], classes, weight, columns, agreed.annotators)
