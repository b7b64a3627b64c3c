"""The consensus of several annotators, its probability, and each annotator's quality.

CROWDLAB (Goh, Tkachenko, Mueller: CROWDLAB: Supervised learning to infer consensus labels and
quality scores for data with multiple annotators, 2022, arXiv 2210.06812), computed by cleanlab: a
weighted mean of what the annotators said and what a model expects that has not seen the image. Who
agrees with the others more often than guessing would, weighs more; so does a good model.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.arrays import Float32s, Float64s, Floats, Indices, Int64s, Ints

NONE = -1  # this annotator gave this image no label

# Images that two or more have labelled; below, how far anybody can be trusted is not known.
SHARED_LEAST = 10

# A vote less likely to be right than this is no part of a soft label.
NEGLIGIBLE = 0.01

# What settles a tie and moves nothing else; cleanlab would draw lots.
_TIE_BREAK = 1e-9


@dataclass(frozen=True)
class Consensus:
    """The consensus labels of N images by A annotators."""

    labels: Int64s  # [N] the class that is most likely right, of those that somebody voted for
    quality: Float64s  # [N] how likely that is
    decided: Int64s  # [N] most votes; of a tie, the better annotators'. No model has a say in it
    trust: Float64s  # [N, A] how likely this vote is right; NaN without a vote
    annotators: Float64s  # [A] quality, 0 to 1; NaN where nothing tells it

    def soft_rows(self, votes: Ints) -> tuple[Int64s, Int64s, Float32s]:
        """Soft labels as rows to fit on: image [M], class [M] and weight [M], in order of images.

        `votes` [N, A] are those of the consensus. An image counts once for each class that was
        voted for, in proportion to how likely that class is right; its weights sum to one.
        """
        image, annotator = np.nonzero(votes != NONE)
        classes = int(votes.max(initial=0)) + 1
        # Votes for one class have one trust: it is the class's.
        pairs, first = np.unique(image * classes + votes[image, annotator], return_index=True)
        rows, y = np.divmod(pairs, classes)
        weight = self.trust[image, annotator][first]
        weight /= np.bincount(rows, weight)[rows]
        kept = weight > NEGLIGIBLE
        rows, y, weight = rows[kept], y[kept], weight[kept]
        weight /= np.bincount(rows, weight)[rows]
        return rows.astype(np.int64), y.astype(np.int64), weight.astype(np.float32)


def consensus(
    votes: Ints,
    probabilities: Floats,
    truth: Ints | None = None,
) -> Consensus:
    """Compute the consensus of the annotators.

    `votes` [N, A] are indices into C classes, or NONE; each row has a vote and each column too.
    `probabilities` [N, C] are a model's, calibrated, of rows that it was not fitted on. `truth` [N]
    is the class where it is known for certain, else NONE. A class that nobody voted for never wins,
    however sure the model is. With fewer than SHARED_LEAST rows of two votes all votes of a row are
    trusted alike, and nobody is rated. In a row whose probabilities aren't finite (its embedding
    isn't), the model takes all classes for equally probable.
    """
    finite = np.isfinite(probabilities).all(axis=1, keepdims=True)
    probabilities = np.where(finite, probabilities, 1 / probabilities.shape[1])
    voted = votes != NONE
    truth = np.full(len(votes), NONE) if truth is None else truth
    annotators: Float64s = np.full(votes.shape[1], np.nan)
    if np.count_nonzero(voted.sum(axis=1) > 1) >= SHARED_LEAST:
        trust, annotators = _crowdlab(votes, probabilities)
    else:
        trust = _alike(votes, annotators)[0] / voted.sum(axis=1)[:, None]
    row, sure = np.arange(len(votes)), truth != NONE
    # A truth that nobody voted for can't be learned from votes: they stay as they are.
    known = voted & (sure & (votes == truth[:, None]).any(axis=1))[:, None]
    trust = np.where(known, votes == truth[:, None], np.where(voted, trust, np.nan))
    expected = probabilities[row[:, None], np.maximum(votes, 0)]
    best = _greatest(votes, trust + _TIE_BREAK * expected)
    return Consensus(
        labels=np.where(sure, truth, votes[row, best]),
        quality=np.where(sure, 1.0, trust[row, best]),
        decided=decide(votes, annotators, truth),
        trust=trust,
        annotators=annotators,
    )


def consensus_by_class(
    votes: Ints, probabilities: Floats, truth: Ints
) -> tuple[Float64s, Float64s]:
    """Soft labels [N, C] where each class is there or not for itself, and annotators' quality [A].

    `votes` [N, A, C] are 1, 0 or NONE, `truth` [N, C] too; `probabilities` [N, C] are a model's, of
    rows that it was not fitted on. A soft label is the probability that the class is there. Each
    class of each image that somebody saw there is a question of its own, with the answers yes and
    no, for `consensus`; what nobody saw is not there.
    """
    soft = np.zeros(probabilities.shape)
    annotators: Float64s = np.full(votes.shape[1], np.nan)
    row, column = np.nonzero((votes == 1).any(axis=1))
    answers = votes[row, :, column]
    asked = (answers != NONE).any(axis=0)
    if not len(row):
        return soft, annotators
    yes = probabilities[row, column]
    agreed = consensus(answers[:, asked], np.stack([1 - yes, yes], axis=1), truth[row, column])
    annotators[asked] = agreed.annotators
    question, answer, weight = agreed.soft_rows(answers[:, asked])
    seen = question[answer == 1]
    soft[row[seen], column[seen]] = weight[answer == 1]
    return soft, annotators


def decide(votes: Ints, annotators: Float64s, truth: Ints | None = None) -> Int64s:
    """[N] the class of most votes [N, A], or the `truth` [N] where it is known.

    Of a tie, what annotators of the better quality [A] voted for; of that too, the last column.
    """
    count, rating = _alike(votes, np.nan_to_num(annotators))
    most = votes[np.arange(len(votes)), _greatest(votes, count + rating / 2)].astype(np.int64)
    return most if truth is None else np.where(truth == NONE, most, truth)


def _alike(votes: Ints, rating: Float64s) -> tuple[Float64s, Float64s]:
    """How many of its row voted like this one [N, A], and their mean `rating` (of [A]) [N, A]."""
    image, annotator = np.nonzero(votes != NONE)
    pairs = image * (int(votes.max(initial=0)) + 1) + votes[image, annotator]
    _, pair = np.unique(pairs, return_inverse=True)
    count, mean = np.zeros(votes.shape), np.zeros(votes.shape)
    of_pair = np.bincount(pair)
    count[image, annotator] = of_pair[pair]
    mean[image, annotator] = (np.bincount(pair, rating[annotator]) / of_pair)[pair]
    return count, mean


def _greatest(votes: Ints, rank: Float64s) -> Indices:
    """[N] whose vote has the greatest `rank` [N, A]; of equals, the last one's."""
    rank = np.where(votes == NONE, -np.inf, rank)
    greatest: Indices = votes.shape[1] - 1 - rank[:, ::-1].argmax(axis=1)
    return greatest


def _crowdlab(votes: Ints, probabilities: Floats) -> tuple[Float64s, Float64s]:
    """Trust [N, A] and quality of annotators [A]."""
    from cleanlab.multiannotator import get_label_quality_multiannotator  # brings pandas

    expected = np.clip(np.asarray(probabilities, np.float64), 1e-6, 1.0)
    expected += _TIE_BREAK * np.arange(expected.shape[1])
    expected /= expected.sum(axis=1, keepdims=True)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # no two agree anywhere; the mean of no value
        found: dict[str, Any] = get_label_quality_multiannotator(
            np.where(votes == NONE, np.nan, votes), expected, verbose=False
        )
    trust: Float64s = found["detailed_label_quality"].to_numpy(np.float64)
    rated: Float64s = (
        found["annotator_stats"]["annotator_quality"].sort_index().to_numpy(np.float64)
    )
    return trust, rated
