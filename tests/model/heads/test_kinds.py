"""Every kind of head keeps the same promises, and is what scikit-learn would have served."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from model.heads import FitData, Head, fit, head_from_arrays
from model.heads.features import normalise
from model.heads.forest import ForestHead
from model.heads.knn import NeighbourHead, neighbour_weight
from model.heads.registry import HEADS
from model.statistics.calibration import softmax

DIGITS = load_digits()
X: NDArray[np.float16] = DIGITS.data.astype(np.float16)
Y: NDArray[np.intp] = DIGITS.target
CLASSES = tuple("0123456789")
KINDS = tuple(HEADS.names())


def drawn(labels: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.random.default_rng(seed).permutation(len(Y))
    return order[:labels], order[labels:]


def of_each_class(*counts: int) -> NDArray[np.intp]:
    """The first rows of classes 0, 1, … in these numbers."""
    return np.concatenate([np.nonzero(c == Y)[0][:n] for c, n in enumerate(counts)])


def prepared(head: Head, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """What linear heads are fitted on, of `rows`: normalised, of a total variance of one."""
    ours = normalise(X, float(head.arrays()["power"][0])).astype(np.float64)
    scale = np.sqrt(np.square(ours[rows] - ours[rows].mean(axis=0)).sum(axis=1).mean())
    return ours / scale


def row_weights(rows: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.bincount(Y[rows])[Y[rows]] ** -0.25


def test_there_are_six_kinds() -> None:
    assert KINDS == ("forest", "knn", "logistic", "prototype", "ridge", "svm")


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_labels_teach_ten_digits(kind: str) -> None:
    rows, rest = drawn(100, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind)
    logits = head.logits(X[rest])
    sure = softmax(logits)[np.arange(len(rest)), Y[rest]]

    assert head.kind == kind
    assert np.mean(logits.argmax(axis=1) == Y[rest]) > 0.8
    assert -np.log(sure).mean() < 1.1  # of 2.3 for a guess: sure where it is right


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "counts", [(1,), (30,), (1, 1), (1, 40), (1, 2, 3, 4, 40), (0, 3, 0, 5), (2, 2)]
)
def test_any_mixture_of_counts_gives_a_head(kind: str, counts: tuple[int, ...]) -> None:
    rows = of_each_class(*counts)
    logits = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind).logits(X)
    labelled = [c for c, n in enumerate(counts) if n]

    assert logits.shape == (len(X), 10)
    assert logits.dtype == np.float32
    assert np.isfinite(logits[:, labelled]).all()
    # A class without a label is never suggested.
    assert np.isneginf(np.delete(logits, labelled, axis=1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_call_gives_the_same_bits(kind: str) -> None:
    rows, _ = drawn(60, 0)
    first, second = (
        fit(FitData.of(X[rows], Y[rows], CLASSES, seed=3), kind=kind).arrays() for _ in range(2)
    )

    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_head_is_the_same_head(kind: str) -> None:
    rows, rest = drawn(60, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind)
    again = head_from_arrays(head.kind, head.classes, head.arrays())

    assert again.kind == kind
    assert again.logits(X[rest]).tobytes() == head.logits(X[rest]).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_are_no_heads_are_refused(kind: str) -> None:
    rows, _ = drawn(60, 0)
    arrays = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind).arrays()

    with pytest.raises(ValueError, match="for 3 classes"):
        head_from_arrays(kind, CLASSES[:3], arrays)
    for part in arrays:
        rest = {name: array for name, array in arrays.items() if name != part}
        with pytest.raises(ValueError, match=part):
            head_from_arrays(kind, CLASSES, rest)


@pytest.mark.parametrize("kind", KINDS)
def test_an_embedding_without_numbers_gets_none_and_harms_no_other(kind: str) -> None:
    rows, rest = drawn(60, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind)
    x = X[rest[:10]].astype(np.float32)
    x[3] = np.nan
    logits = head.logits(x)

    assert np.isnan(logits[3]).all()
    others = np.arange(10) != 3
    np.testing.assert_allclose(logits[others], head.logits(x[others]), rtol=1e-5)
    assert head.logits(x[:0]).shape == (0, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_doubted_row_counts_by_its_weights(kind: str) -> None:
    """A row of each class with half the weight pulls towards neither; one with all does."""
    rows, _ = drawn(100, 0)
    zero = np.nonzero(Y == 0)[0]
    doubted = zero[~np.isin(zero, rows)][:40]
    x = np.concatenate([X[rows], X[doubted], X[doubted]])
    y = np.concatenate([Y[rows], np.full(40, 0), np.full(40, 9)])
    groups = np.concatenate([np.arange(100), 100 + np.arange(40), 100 + np.arange(40)])

    def share_of_nine(weight_of_nine: float) -> float:
        weight = np.repeat([1, 1 - weight_of_nine, weight_of_nine], [100, 40, 40])
        head = fit(FitData.of(x, y, CLASSES, seed=0, groups=groups, weight=weight), kind=kind)
        return float(softmax(head.logits(X[doubted]))[:, 9].mean())

    shares = [share_of_nine(weight) for weight in (0.0, 0.4, 1.0)]
    assert shares == sorted(shares)
    assert shares[2] - shares[0] > 0.3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "forest"])
def test_a_thousand_classes_of_one_label_each(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    head = fit(FitData.of(x, np.arange(1000), tuple(map(str, range(1000))), seed=0), kind=kind)

    assert np.isfinite(head.logits(x)).all()
    assert np.mean(head.logits(x).argmax(axis=1) == np.arange(1000)) > 0.9


def test_ridge_is_scikit_learns() -> None:
    rows, rest = drawn(300, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind="ridge")
    weights = row_weights(rows)
    ours = prepared(head, rows)
    alpha = float(head.arrays()["penalty"][0]) * weights.sum()
    onehot = 2.0 * np.eye(10)[Y[rows]] - 1
    theirs = Ridge(alpha=alpha).fit(ours[rows], onehot, sample_weight=weights)

    expected, logits = theirs.predict(ours[rest]), head.logits(X[rest])
    # One temperature apart.
    ratio = np.vdot(expected, logits) / np.vdot(expected, expected)
    np.testing.assert_allclose(logits / ratio, expected, atol=1e-4)


def test_the_support_vector_machine_is_scikit_learns() -> None:
    rows, rest = drawn(300, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind="svm")
    ours = prepared(head, rows)
    weights = row_weights(rows)
    strength = 1 / (2 * 300 * float(head.arrays()["penalty"][0]))
    theirs = LinearSVC(
        C=strength, dual=False, intercept_scaling=1000, tol=1e-6, max_iter=10_000, random_state=0
    ).fit(ours[rows], Y[rows], sample_weight=weights / weights.mean())

    expected, logits = theirs.decision_function(ours[rest]), head.logits(X[rest])
    ratio = np.vdot(expected, logits) / np.vdot(expected, expected)
    assert np.abs(logits / ratio - expected).mean() < 0.02  # of margins of 2
    assert np.mean(logits.argmax(axis=1) == expected.argmax(axis=1)) > 0.99


def test_the_forest_is_scikit_learns() -> None:
    rows, rest = drawn(300, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=7), kind="forest")
    x = X[rows].astype(np.float32)
    theirs = RandomForestClassifier(100, random_state=7).fit(x, Y[rows])

    assert isinstance(head, ForestHead)
    expected = theirs.predict_proba(X[rest].astype(np.float32))
    np.testing.assert_allclose(head.probabilities(X[rest]), expected, atol=1e-6)
    # Thresholds lie between values of the training rows; on them nothing may go astray either.
    np.testing.assert_allclose(head.probabilities(x), theirs.predict_proba(x), atol=1e-6)
    np.testing.assert_array_equal(head.logits(X[rest]).argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_forest_walks_like_scikit_learns_on_fine_values(weighted: bool) -> None:
    """Neighbouring single-precision values, whose middle only double precision can hold."""
    rng = np.random.default_rng(0)
    x = (1 + rng.integers(0, 50, (400, 6)) * np.float32(2**-23)).astype(np.float32)
    y = rng.integers(0, 3, 400)
    weight = rng.uniform(0.1, 2, 400).astype(np.float32) if weighted else None
    head = fit(FitData.of(x, y, ("a", "b", "c"), seed=1, weight=weight), kind="forest")
    theirs = RandomForestClassifier(100, random_state=1)
    theirs.fit(x, y, sample_weight=weight)

    assert isinstance(head, ForestHead)
    np.testing.assert_allclose(head.probabilities(x), theirs.predict_proba(x), atol=1e-6)


def test_nearest_neighbours_are_scikit_learns() -> None:
    rows, rest = drawn(300, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind="knn")
    power, k = (head.arrays()[name][0] for name in ("power", "k"))
    ours = normalise(X, float(power)).astype(np.float64)
    theirs = KNeighborsClassifier(int(k), weights=neighbour_weight, algorithm="brute")
    theirs.fit(ours[rows], Y[rows])

    assert isinstance(head, NeighbourHead)
    assert k > 1
    expected = theirs.predict_proba(ours[rest])
    np.testing.assert_allclose(head.probabilities(X[rest]), expected, atol=1e-6)
    np.testing.assert_array_equal(head.logits(X[rest]).argmax(axis=1), expected.argmax(axis=1))


def test_near_duplicates_are_not_each_others_neighbours() -> None:
    rows, _ = drawn(60, 1)
    copies = np.tile(rows, 5)
    x = X[copies] + np.random.default_rng(0).normal(scale=0.05, size=(300, 64))
    told = fit(
        FitData.of(x, Y[copies], CLASSES, seed=0, groups=np.tile(np.arange(60), 5)), kind="knn"
    )
    untold = fit(FitData.of(x, Y[copies], CLASSES, seed=0), kind="knn")

    assert told.arrays()["k"][0] > untold.arrays()["k"][0]


@pytest.mark.parametrize("kind", ["ridge", "svm", "knn", "logistic"])
def test_settings_can_be_taken_from_another_head(kind: str) -> None:
    rows, rest = drawn(120, 0)
    head = fit(FitData.of(X[rows], Y[rows], CLASSES, seed=0), kind=kind)
    other = fit(
        FitData.of(X[rest[:60]], Y[rest[:60]], CLASSES, seed=0, settings_of=head), kind=kind
    )
    setting = "k" if kind == "knn" else "penalty"

    assert other.arrays()[setting][0] == head.arrays()[setting][0]
