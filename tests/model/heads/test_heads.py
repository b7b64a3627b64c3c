"""Heads: they learn from one label on, keep their word when stored, and match scikit-learn."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from threadpoolctl import threadpool_limits

from model.heads import FitData, Head, choose_kind, fit, head_from_arrays
from model.heads.features import normalise
from model.registry import UnknownNameError
from model.statistics.calibration import softmax

DIGITS = load_digits()
X: NDArray[np.float16] = DIGITS.data.astype(np.float16)
Y: NDArray[np.intp] = DIGITS.target
CLASSES = tuple("0123456789")


def drawn(labels: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.random.default_rng(seed).permutation(len(Y))
    return order[:labels], order[labels:]


def accuracy(head: Head, rows: NDArray[np.intp]) -> float:
    return float(np.mean(head.logits(X[rows]).argmax(axis=1) == Y[rows]))


def of_each_class(*counts: int) -> NDArray[np.intp]:
    """The first rows of classes 0, 1, … in these numbers."""
    return np.concatenate([np.nonzero(c == Y)[0][:n] for c, n in enumerate(counts)])


def test_few_labels_a_class_give_prototypes_and_more_logistic_regression() -> None:
    assert choose_kind(np.repeat([0, 1, 2], 19)) == "prototype"
    assert choose_kind(np.repeat([0, 1, 2], 20)) == "logistic"
    assert choose_kind(np.array([1] * 40)) == "prototype"  # nothing to tell apart


def test_one_label_a_class_is_enough_to_start() -> None:
    rows = of_each_class(*[1] * 10)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0))

    assert head.kind == "prototype"
    assert accuracy(head, np.arange(len(Y))) > 0.55


@pytest.mark.parametrize("kind", ["prototype", "logistic"])
@pytest.mark.parametrize(
    "counts", [(1,), (30,), (1, 1), (1, 40), (1, 2, 3, 4, 40), (0, 3, 0, 5), (2, 2)]
)
def test_any_mixture_of_counts_gives_a_head(kind: str, counts: tuple[int, ...]) -> None:
    rows = of_each_class(*counts)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind)
    logits = head.logits(X)
    labelled = [c for c, n in enumerate(counts) if n]

    assert logits.shape == (len(X), 10)
    assert logits.dtype == np.float32
    assert np.isfinite(logits[:, labelled]).all()
    # A class without a label is never suggested.
    assert np.isneginf(np.delete(logits, labelled, axis=1)).all()
    assert np.mean(head.logits(X[rows]).argmax(axis=1) == Y[rows]) > 0.8


@pytest.mark.parametrize("kind", ["prototype", "logistic"])
def test_equal_rows_of_two_classes_and_zero_rows_do_no_harm(kind: str) -> None:
    x = np.ones((12, 16), np.float16)
    y = np.array([0, 1] * 6)
    equal = fit(FitData.of(x, y, ("a", "b"), seed=0), kind=kind)
    x[0] = 0
    with_zero = fit(FitData.of(x, y, ("a", "b"), seed=0), kind=kind)

    np.testing.assert_allclose(softmax(equal.logits(x[1:])), 0.5, atol=1e-3)
    assert np.isfinite(with_zero.logits(x)).all()


@pytest.mark.parametrize("kind", ["prototype", "logistic"])
def test_the_same_call_gives_the_same_bits(kind: str) -> None:
    rows, _ = drawn(120, 0)
    first, second = (
        fit(FitData.of(X[rows], Y[rows], CLASSES, seed=3), kind=kind).arrays() for _ in range(2)
    )

    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes()


@pytest.mark.parametrize("kind", ["prototype", "logistic"])
def test_a_stored_head_is_the_same_head(kind: str) -> None:
    rows, rest = drawn(60, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind)
    again = head_from_arrays(head.kind, head.classes, head.arrays())

    assert again.logits(X[rest]).tobytes() == head.logits(X[rest]).tobytes()
    assert again.arrays().keys() == head.arrays().keys()


def test_arrays_that_are_no_heads_are_refused() -> None:
    rows, _ = drawn(60, 0)
    arrays = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0)).arrays()

    with pytest.raises(ValueError, match="11 classes"):
        head_from_arrays("logistic", (*CLASSES, "ten"), arrays)
    with pytest.raises(ValueError, match="bias"):
        head_from_arrays("logistic", CLASSES, {"weight": arrays["weight"]})
    with pytest.raises(UnknownNameError, match="did you mean logistic"):
        head_from_arrays("logistics", CLASSES, arrays)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one label"):
        fit(FitData.of(np.zeros((0, 4)), np.zeros(0, int), ("a",), seed=0))
    with pytest.raises(ValueError, match="at least one label"):
        fit(FitData.of(np.full((3, 4), np.nan), np.zeros(3, int), ("a",), seed=0))


def test_broken_rows_are_left_out() -> None:
    rows, rest = drawn(100, 0)
    x = X[rows].copy()
    x[:10] = np.nan
    with_broken = fit(FitData.of(x, Y[rows], CLASSES, seed=0))
    without = fit(FitData.of(x[10:], Y[rows][10:], CLASSES, seed=0, groups=np.arange(10, 100)))

    np.testing.assert_array_equal(with_broken.logits(X[rest]), without.logits(X[rest]))


def test_the_optimum_is_scikit_learns() -> None:
    rows, rest = drawn(300, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind="logistic")
    penalty = float(head.arrays()["penalty"][0])
    ours = normalise(X, float(head.arrays()["power"][0])).astype(np.float64)
    scale = np.sqrt(np.square(ours[rows] - ours[rows].mean(axis=0)).sum(axis=1).mean())
    sizes = np.bincount(Y[rows])[Y[rows]]
    weights = sizes**-0.25 / np.mean(sizes**-0.25)
    theirs = LogisticRegression(C=1 / (penalty * len(rows)), max_iter=10_000, tol=1e-6).fit(
        ours[rows] / scale, Y[rows], sample_weight=weights
    )

    expected = theirs.predict_proba(ours[rest] / scale)
    assert np.abs(softmax(head.logits(X[rest])) - expected).mean() < 0.003
    assert np.mean(head.logits(X[rest]).argmax(axis=1) == expected.argmax(axis=1)) > 0.99


def test_a_warm_start_meets_the_same_optimum() -> None:
    rows, rest = drawn(200, 0)
    earlier = fit(FitData.of(X[rows[:150]], Y[rows[:150]], CLASSES[:10], seed=0), kind="logistic")
    cold = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0))
    warm = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0, warm_start=earlier))

    difference = np.abs(softmax(warm.logits(X[rest])) - softmax(cold.logits(X[rest])))
    assert difference.mean() < 0.003


def test_a_warm_start_of_other_classes_or_another_backbone_is_no_harm() -> None:
    rows, rest = drawn(200, 0)
    for earlier in (
        fit(FitData.of(X[rows], Y[rows] % 2, ("odd", "1"), seed=0)),
        fit(FitData.of(X[rows][:, :20], Y[rows], CLASSES, seed=0)),
        fit(FitData.of(X[rows[:10]], Y[rows[:10]], CLASSES, seed=0), kind="prototype"),
    ):
        head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0, warm_start=earlier))
        assert accuracy(head, rest) > 0.9


@pytest.mark.parametrize("labels", [20, 50, 150])
def test_accuracy_is_not_more_than_a_point_below_scikit_learns(labels: int) -> None:
    ours, theirs = [], []
    for seed in range(6):
        rows, rest = drawn(labels, seed)
        ours.append(accuracy(fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0)), rest))
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):
            warnings.simplefilter("ignore")  # classes with fewer labels than folds
            reference = LogisticRegressionCV(Cs=10, cv=3, max_iter=300)
            reference.fit(X[rows].astype(np.float32), Y[rows])
        theirs.append(reference.score(X[rest].astype(np.float32), Y[rest]))

    assert np.mean(ours) >= np.mean(theirs) - 0.01


def test_uneven_classes_do_not_drown_the_small_ones() -> None:
    recalls = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        by_class = [rng.permutation(np.nonzero(c == Y)[0]) for c in range(10)]
        rows = np.concatenate([r[: (2, 8)[c % 2]] for c, r in enumerate(by_class)])
        rest = np.concatenate([r[8:] for r in by_class[::2]])
        recalls.append(accuracy(fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0)), rest))

    assert np.mean(recalls) > 0.6


def test_near_duplicates_do_not_weaken_the_penalty() -> None:
    rows, rest = drawn(60, 1)
    rng = np.random.default_rng(0)
    copies = np.concatenate([rows] * 5)
    x = np.maximum(X[copies] + rng.normal(scale=0.05, size=(300, 64)), 0).astype(np.float16)
    told, untold = (
        fit(FitData.of(x, Y[copies], CLASSES, seed=0, groups=groups), kind="logistic")
        for groups in (np.tile(np.arange(60), 5), None)
    )

    def log_loss(head: Head) -> float:
        p = softmax(head.logits(X[rest]))[np.arange(len(rest)), Y[rest]]
        return float(-np.log(np.maximum(p, 1e-9)).mean())

    assert log_loss(told) <= log_loss(untold)
    assert told.arrays()["penalty"][0] > untold.arrays()["penalty"][0]


def test_applying_a_head_needs_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys, numpy as np; from model.heads import head_from_arrays;"
        "f = np.float32; head = head_from_arrays('logistic', ('a', 'b'), dict("
        "weight=np.eye(2, dtype=f), bias=np.zeros(2, f), power=np.ones(1, f),"
        "penalty=np.ones(1, f)));"
        "assert head.logits(np.eye(2)).argmax(1).tolist() == [0, 1];"
        "import model.evaluation.cross_validation, model.evaluation.paired_tests;"
        "import model.statistics.calibration;"
        "sys.exit(bool({'torch', 'sklearn', 'scipy', 'threadpoolctl'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
