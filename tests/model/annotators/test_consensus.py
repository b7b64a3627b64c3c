"""Consensus: several annotators, some of them better, and a model that has not seen the images."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from model.annotators.consensus import NONE, consensus, consensus_by_class, decide

CLASSES = 5


def cast(
    skills: tuple[float, ...], images: int, each: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Truth [N], votes [N, A] of `each` annotators an image, and a model that is 80% right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, images)
    votes = np.full((images, len(skills)), NONE)
    for row in range(images):
        for annotator in rng.choice(len(skills), each, replace=False):
            right = rng.random() < skills[annotator]
            votes[row, annotator] = truth[row] if right else rng.integers(CLASSES)
    guess = np.where(rng.random(images) < 0.8, truth, rng.integers(CLASSES, size=images))
    p = np.full((images, CLASSES), 0.2 / (CLASSES - 1))
    p[np.arange(images), guess] = 0.8
    return truth, votes, p


@pytest.mark.parametrize("seed", range(3))
def test_disagreement_is_settled_better_than_by_majority(seed: int) -> None:
    truth, votes, p = cast((0.95, 0.9, 0.7, 0.5), 400, 2, seed)
    agreed = consensus(votes, p)
    by_majority = decide(votes, np.full(4, np.nan))
    assert np.mean(agreed.labels == truth) > np.mean(by_majority == truth) + 0.1
    assert np.mean(agreed.decided == truth) > np.mean(by_majority == truth) + 0.03


@pytest.mark.parametrize("seed", range(3))
def test_better_annotators_are_rated_higher(seed: int) -> None:
    _, votes, p = cast((0.95, 0.8, 0.6, 0.4), 400, 2, seed)
    rated = consensus(votes, p).annotators
    assert list(np.argsort(-rated)) == [0, 1, 2, 3]


def test_quality_is_what_cleanlab_says() -> None:
    from cleanlab.multiannotator import get_label_quality_multiannotator

    _, votes, p = cast((0.95, 0.8, 0.6), 100, 2, seed=0)
    agreed = consensus(votes, p)
    theirs = get_label_quality_multiannotator(
        np.where(votes == NONE, np.nan, votes), p, verbose=False
    )["label_quality"]
    label = theirs["consensus_label"].to_numpy()
    same = agreed.labels == label
    assert same.mean() > 0.8  # theirs may be a class that nobody voted for
    assert (votes == label[:, None]).any(axis=1)[same].all()
    assert not (votes == label[:, None]).any(axis=1)[~same].any()
    quality = theirs["consensus_quality_score"].to_numpy()
    np.testing.assert_allclose(agreed.quality[same], quality[same], atol=1e-4)


def test_what_is_known_for_certain_counts_before_all_votes() -> None:
    _, votes, p = cast((0.9, 0.8, 0.7), 100, 3, seed=0)
    truth = np.full(100, NONE)
    split = np.flatnonzero((votes != votes[:, :1]).any(axis=1))[0]
    truth[split] = votes[split].min()
    truth[split + 1] = next(c for c in range(CLASSES) if c not in votes[split + 1])
    agreed = consensus(votes, p, truth)
    for row in (split, split + 1):
        assert agreed.labels[row] == agreed.decided[row] == truth[row]
        assert agreed.quality[row] == 1
    rows, y, weight = agreed.soft_rows(votes)
    assert (y[rows == split].tolist(), weight[rows == split].tolist()) == ([truth[split]], [1.0])


def test_a_class_that_nobody_voted_for_never_wins() -> None:
    _, votes, p = cast((0.5, 0.5, 0.5), 200, 2, seed=1)
    agreed = consensus(votes, p)
    for labels in (agreed.labels, agreed.decided):
        assert (votes == labels[:, None]).any(axis=1).all()


def test_with_few_shared_images_nobody_is_rated_and_votes_count_alike() -> None:
    votes = np.array([[0, 1], [2, NONE], [1, 1]])
    p = np.array([[0.2, 0.8, 0], [0.9, 0.1, 0], [1, 0, 0]])
    agreed = consensus(votes, p)
    assert np.isnan(agreed.annotators).all()
    assert agreed.labels.tolist() == [1, 2, 1]  # the model settles the tie
    assert agreed.quality.tolist() == [0.5, 1, 1]
    rows, y, weight = agreed.soft_rows(votes)
    assert rows.tolist() == [0, 0, 1, 2]
    assert y.tolist() == [0, 1, 2, 1]
    assert weight.tolist() == [0.5, 0.5, 1, 1]


def test_soft_labels_share_an_image_between_its_classes() -> None:
    _, votes, p = cast((0.9, 0.8, 0.4), 200, 3, seed=0)
    agreed = consensus(votes, p)
    rows, y, weight = agreed.soft_rows(votes)
    np.testing.assert_allclose(np.bincount(rows, weight), 1, rtol=1e-6)
    assert set(rows.tolist()) == set(range(200))
    assert len(set(zip(rows.tolist(), y.tolist(), strict=True))) == len(rows)
    heaviest = {int(row): int(y[rows == row][weight[rows == row].argmax()]) for row in set(rows)}
    assert np.mean([heaviest[row] == agreed.labels[row] for row in range(200)]) == 1


def test_annotators_who_never_agree_are_no_error_and_nothing_is_drawn_by_lot() -> None:
    votes = np.stack([np.arange(40) % 3, (np.arange(40) + 1) % 3], axis=1)
    p = np.full((40, 3), 1 / 3)
    first, second = consensus(votes, p), consensus(votes, p)
    assert np.isfinite(first.quality).all()
    assert first.labels.tolist() == second.labels.tolist()
    assert first.trust.tolist() == second.trust.tolist()


def test_a_tie_goes_to_the_better_annotator_and_else_to_the_last() -> None:
    votes = np.array([[0, 1, NONE], [0, 1, 1], [NONE, 2, 0]])
    rated = np.array([0.9, 0.5, 0.5])
    assert decide(votes, rated).tolist() == [0, 1, 0]
    assert decide(votes, np.full(3, np.nan)).tolist() == [1, 1, 0]


def test_several_classes_are_settled_each_for_itself() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((300, 4)) < 0.3
    skills = (0.97, 0.85, 0.75)
    votes = np.stack([np.where(rng.random(truth.shape) < s, truth, ~truth) for s in skills], axis=1)
    votes[rng.random((300, 3)) < 0.3] = NONE
    votes[(votes == NONE).all(axis=(1, 2)), 0] = 0
    p = np.clip(truth * 0.8 + 0.1, 0, 1)
    soft, rated = consensus_by_class(votes, p, np.full(truth.shape, NONE))
    one = np.mean((votes[:, 0] == 1)[votes[:, 0, 0] != NONE] == truth[votes[:, 0, 0] != NONE])
    assert np.mean((soft >= 0.5) == truth) > min(one, 0.95)
    assert rated[0] > rated[1] > rated[2]
    known = truth.astype(int)
    soft, _ = consensus_by_class(votes, p, known)
    asked = (votes == 1).any(axis=1) & (votes == known[:, None]).any(axis=1)
    assert (soft[asked] == known[asked]).all()


def test_nothing_seen_by_anybody_is_nothing_there() -> None:
    soft, rated = consensus_by_class(
        np.zeros((3, 2, 4), int), np.full((3, 4), 0.9), np.full((3, 4), NONE)
    )
    assert not soft.any()
    assert np.isnan(rated).all()


def test_cleanlab_comes_when_it_is_needed_and_brings_no_torch() -> None:
    code = (
        "import sys, numpy as np, model.annotators.consensus as c;"
        "before = 'cleanlab' in sys.modules;"
        "c.consensus(np.tile([[0, 1], [1, 1]], (10, 1)), np.full((20, 2), 0.5));"
        "sys.exit(before or 'torch' in sys.modules or 'cleanlab' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("images", [5, 40])
def test_an_image_that_the_model_knows_nothing_of_keeps_its_votes(images: int) -> None:
    """Its embedding isn't finite. Without a row of its own, no version could be trained."""
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 2, (images, 3))
    votes[3] = (0, 1, NONE)
    probabilities = np.full((images, 2), 0.5)
    probabilities[3] = np.nan
    agreed = consensus(votes, probabilities)
    rows, classes, weight = agreed.soft_rows(votes)
    assert np.unique(rows).tolist() == list(range(images))
    assert np.bincount(rows, weight) == pytest.approx(np.ones(images))
    assert classes[rows == 3].tolist() == [0, 1]
    assert np.isfinite(agreed.quality).all()
