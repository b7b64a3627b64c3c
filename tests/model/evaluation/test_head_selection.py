"""The choice among kinds of heads: the simplest that isn't clearly worse, and why."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from model.evaluation.head_selection import Selection, select
from model.heads import FitData, choose_kind
from model.registry import UnknownNameError

DIGITS = load_digits()
X: NDArray[np.float16] = DIGITS.data.astype(np.float16)
Y: NDArray[np.intp] = DIGITS.target
CLASSES = tuple("0123456789")
QUICK = ("prototype", "ridge", "knn")


def in_rings(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Directions around four poles, each class two opposite ones: no line tells them apart."""
    rng = np.random.default_rng(seed)
    pole = rng.integers(0, 4, count)
    x = np.stack([np.cos(pole * np.pi / 2), np.sin(pole * np.pi / 2)], axis=1)
    return (x + rng.normal(scale=0.15, size=x.shape)).astype(np.float32), pole % 2


def test_neighbours_are_taken_where_no_line_tells_the_classes_apart() -> None:
    x, y = in_rings(200, 0)
    selection = select(FitData.of(x, y, ("a", "b"), seed=0))
    of = {candidate.kind: candidate for candidate in selection.candidates}

    assert selection.kind == "knn"
    assert of["knn"].accuracy > 0.95
    assert of["logistic"].accuracy < 0.7
    assert of["logistic"].behind == pytest.approx(of["knn"].accuracy - of["logistic"].accuracy)
    assert 0 < of["logistic"].error < 0.1


def test_the_simplest_is_taken_where_all_do_equally_well() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    x = (np.eye(2)[y] + rng.normal(scale=0.02, size=(100, 2))).astype(np.float32)
    selection = select(FitData.of(x, y, ("a", "b"), seed=0))

    assert selection.kind == "prototype"
    assert [c.kind for c in selection.candidates][:3] == ["prototype", "ridge", "logistic"]
    assert all(c.accuracy > 0.98 for c in selection.candidates)


def test_a_simpler_one_that_may_only_look_worse_is_taken_and_the_reason_says_so() -> None:
    found = []
    for seed in range(8):
        rows = np.random.default_rng(seed).permutation(len(Y))[:60]
        selection = select(FitData.of(X[rows], Y[rows], CLASSES, seed=seed), kinds=QUICK)
        chosen = next(c for c in selection.candidates if c.kind == selection.kind)
        assert chosen.behind <= chosen.error
        simpler = selection.candidates[: selection.candidates.index(chosen)]
        assert all(c.behind > c.error for c in simpler)
        if chosen.behind > 0:
            found.append(selection.reason)

    assert found
    assert all("simpler" in reason for reason in found)


def test_near_duplicates_do_not_win_by_being_recognised() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(40, 16)), 4, axis=0).astype(np.float32)
    y = np.repeat(rng.integers(0, 2, 40), 4)  # nothing to learn but the images themselves
    groups = np.repeat(np.arange(40), 4)
    told = select(FitData.of(x, y, ("a", "b"), seed=0, groups=groups), kinds=QUICK)
    untold = select(FitData.of(x, y, ("a", "b"), seed=0), kinds=QUICK)

    assert max(c.accuracy for c in told.candidates) < 0.75
    assert max(c.accuracy for c in untold.candidates) > 0.95


def test_too_few_labels_are_not_compared() -> None:
    for y in (np.arange(20) % 2, np.arange(20) % 10, np.zeros(40, int), np.arange(40)):
        x = np.random.default_rng(0).normal(size=(len(y), 8))
        selection = select(FitData.of(x, y, tuple(map(str, range(40))), seed=0))
        assert selection.kind == choose_kind(y)
        assert selection.candidates == ()
        assert "too few" in selection.reason

    assert select(FitData.of(X[:10], Y[:10], CLASSES, seed=0), kinds=("svm", "knn")).kind == "svm"
    copies = np.zeros(40, int)
    assert select(FitData.of(X[:40], Y[:40], CLASSES, seed=0, groups=copies)).candidates == ()


def test_the_last_comparison_is_kept_until_labels_have_grown_by_a_quarter() -> None:
    first = select(FitData.of(X[:80], Y[:80], CLASSES, seed=0), kinds=QUICK)

    assert select(FitData.of(X[:99], Y[:99], CLASSES, seed=0), kinds=QUICK, last=first) is first
    assert (
        select(FitData.of(X[:100], Y[:100], CLASSES, seed=0), kinds=QUICK, last=first).labels == 100
    )
    assert select(FitData.of(X[:60], Y[:60], CLASSES, seed=0), kinds=QUICK, last=first).labels == 60
    # It doesn't hold for a kind that isn't allowed any more.
    others = tuple(kind for kind in QUICK if kind != first.kind)
    assert (
        select(FitData.of(X[:80], Y[:80], CLASSES, seed=0), kinds=others, last=first).kind in others
    )


def test_slow_kinds_are_left_out_with_very_many_labels() -> None:
    x = np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32)
    y = np.arange(4000) % 50
    selection = select(FitData.of(x, y, tuple(map(str, range(50))), seed=0))

    assert "forest" in selection.left_out
    assert {"prototype", "ridge", "logistic"} <= {c.kind for c in selection.candidates}


def test_one_kind_needs_no_comparison_and_an_unknown_one_is_an_error() -> None:
    assert select(FitData.of(X[:80], Y[:80], CLASSES, seed=0), kinds=("ridge",)).kind == "ridge"
    with pytest.raises(UnknownNameError, match="did you mean forest"):
        select(FitData.of(X[:80], Y[:80], CLASSES, seed=0), kinds=("forrest", "ridge"))


def test_same_selection_again_and_as_json() -> None:
    first, second = (
        select(FitData.of(X[:60], Y[:60], CLASSES, seed=4), kinds=QUICK) for _ in range(2)
    )

    assert first == second
    assert Selection.from_json(json.loads(json.dumps(first.as_json()))) == first
