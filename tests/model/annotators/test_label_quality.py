"""Label quality: planted mistakes are found, right labels are left in peace."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from model.annotators.label_quality import doubtful, label_quality, label_quality_by_class
from model.evaluation.cross_validation import out_of_fold_logits
from model.heads import FitData
from model.statistics.calibration import fit_temperature, softmax

CLASSES = tuple(map(str, range(10)))


@pytest.mark.parametrize("seed", range(2))
def test_wrong_labels_are_found_and_few_right_ones_are_doubted(seed: int) -> None:
    x, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(x))[:600]
    x, truth = x[rows], truth[rows]
    y = truth.copy()
    wrong = rng.choice(600, 30, replace=False)
    y[wrong] = (y[wrong] + rng.integers(1, 10, 30)) % 10
    logits = out_of_fold_logits(FitData.of(x, y, CLASSES, groups=np.arange(600), seed=0))
    quality = label_quality(softmax(logits, temperature=fit_temperature(logits, y)), y)
    found = doubtful(quality)
    assert len(set(found) & set(wrong)) >= 24  # of 30
    assert np.mean(np.isin(found, wrong)) >= 0.7
    assert np.mean(np.isin(found[:15], wrong)) >= 0.9  # the worst first


def test_quality_is_what_cleanlab_calls_self_confidence() -> None:
    from cleanlab.rank import get_label_quality_scores

    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 50)
    y = rng.integers(0, 4, 50)
    np.testing.assert_allclose(label_quality(p, y), get_label_quality_scores(y, p))


def test_the_only_label_of_a_class_is_not_doubted() -> None:
    p = np.array([[1.0, 0.0], [0.001, 0.999]])
    quality = label_quality(p, np.array([1, 0]))
    assert np.isnan(quality[0])
    assert doubtful(quality).tolist() == [1]


def test_of_several_classes_the_least_likely_counts() -> None:
    p = np.array([[0.9, 0.2, 0.0], [0.02, 0.5, 0.99], [0.9, 0.1, 0.0], [0.9, 0.2, 0.99]])
    y = np.array([[1, 0, 0], [1, 1, 1], [1, 0, 1], [1, 0, np.nan]])
    np.testing.assert_allclose(label_quality_by_class(p, y), [0.8, 0.02, 0.9, 0.8])
    assert doubtful(label_quality_by_class(p, y)).tolist() == [1]
