"""The pool strategies of scikit-activeml 1.0.1, with the same pool, labels and head as ours.

They get rows of length one, which is the same to the head and kinder to their distances. What their
papers leave open is left at the package's defaults.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import skactiveml.pool as pool
from numpy.typing import NDArray
from skactiveml.classifier import MixtureModelClassifier, ParzenWindowClassifier, SklearnClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from model.active_learning.simulation import Asked, Chooser
from model.heads import FitData, Head, fit
from model.selection.geometry import unit_rows
from model.statistics.calibration import softmax

COMMITTEE = 5  # heads, each of a bootstrap of the labels


class Fitted(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A head in scikit-learn's clothes; it is fitted already."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.classes_ = np.arange(len(head.classes))

    def fit(self, X: Any, y: Any) -> "Fitted":
        """Nothing."""
        return self

    def predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """[N, C]."""
        return softmax(self.head.logits(X))

    def predict(self, X: NDArray[np.floating]) -> NDArray[np.intp]:
        """[N]."""
        return self.predict_proba(X).argmax(axis=1)


def classifier(head: Head, x: NDArray[np.floating], y: NDArray[np.intp]) -> SklearnClassifier:
    """As scikit-activeml wants to have it."""
    return SklearnClassifier(Fitted(head), classes=list(range(len(head.classes)))).fit(x, y)


Query = Callable[[Any, NDArray[np.float32], NDArray[np.float64], Asked], Any]


def _plain(strategy: Any, x: NDArray[np.float32], y: NDArray[np.float64], asked: Asked) -> Any:
    return strategy.query(x, y, batch_size=asked.k)


def _of_head(strategy: Any, x: NDArray[np.float32], y: NDArray[np.float64], asked: Asked) -> Any:
    assert asked.head is not None
    known = np.isfinite(y)
    clf = classifier(asked.head, x[known], y[known].astype(int))
    return strategy.query(x, y, clf=clf, fit_clf=False, batch_size=asked.k)


def _of_estimator(
    strategy: Any, x: NDArray[np.float32], y: NDArray[np.float64], asked: Asked
) -> Any:
    assert asked.head is not None
    known = np.isfinite(y)
    clf = classifier(asked.head, x[known], y[known].astype(int))
    return strategy.query(x, y, estimator=clf, fit_estimator=False, batch_size=asked.k)


def _of_committee(
    strategy: Any, x: NDArray[np.float32], y: NDArray[np.float64], asked: Asked
) -> Any:
    assert asked.head is not None
    known = np.flatnonzero(np.isfinite(y))
    rng = np.random.default_rng(asked.pool.seed)
    ensemble = []
    for _ in range(COMMITTEE):
        rows = known[rng.integers(len(known), size=len(known))]
        labels = y[rows].astype(int)
        head = fit(
            FitData.of(x[rows], labels, asked.head.classes, seed=0, settings_of=asked.head),
            kind=asked.head.kind,
        )
        ensemble.append(classifier(head, x[rows], labels))
    return strategy.query(x, y, ensemble=ensemble, fit_ensemble=False, batch_size=asked.k)


def _with_discriminator(
    strategy: Any, x: NDArray[np.float32], y: NDArray[np.float64], asked: Asked
) -> Any:
    from sklearn.linear_model import LogisticRegression

    found = SklearnClassifier(LogisticRegression(class_weight="balanced"), classes=[0, 1])
    return strategy.query(x, y, discriminator=found, batch_size=asked.k)


def _with_parzen(
    strategy: Any, x: NDArray[np.float32], y: NDArray[np.float64], asked: Asked
) -> Any:
    assert asked.head is not None
    clf = ParzenWindowClassifier(classes=list(range(len(asked.head.classes))))
    return strategy.query(x, y, clf=clf, batch_size=asked.k)


def _with_mixture(
    strategy: Any, x: NDArray[np.float32], y: NDArray[np.float64], asked: Asked
) -> Any:
    assert asked.head is not None
    clf = MixtureModelClassifier(classes=list(range(len(asked.head.classes))))
    return strategy.query(x, y, clf=clf, batch_size=asked.k)


def _each_class(name: str) -> Callable[[int, int], Any]:
    def make(seed: int, classes: int) -> Any:
        return getattr(pool, name)(classes=list(range(classes)), random_state=seed)

    return make


def _made(name: str, **settings: Any) -> Callable[[int, int], Any]:
    def make(seed: int, classes: int) -> Any:
        return getattr(pool, name)(random_state=seed, **settings)

    return make


OPPONENTS: dict[str, tuple[Callable[[int, int], Any], Query]] = {
    "Badge": (_made("Badge"), _of_head),
    "BatchBALD": (_made("BatchBALD", n_MC_samples=100), _of_committee),
    "Clue": (_made("Clue"), _of_estimator),
    "ContrastiveAL": (_made("ContrastiveAL"), _of_head),
    "CoreSet": (_made("CoreSet"), _plain),
    "CostEmbeddingAL": (_each_class("CostEmbeddingAL"), _plain),
    "DiscriminativeAL": (_made("DiscriminativeAL"), _with_discriminator),
    "DropQuery": (_made("DropQuery"), _of_head),
    "EpistemicUncertaintySampling": (_made("EpistemicUncertaintySampling"), _with_parzen),
    "Falcun": (_made("Falcun"), _of_head),
    "FourDs": (_made("FourDs"), _with_mixture),
    "GreedyBALD": (_made("GreedyBALD"), _of_committee),
    "GreedySamplingX": (_made("GreedySamplingX"), _plain),
    "MaxHerding": (_made("MaxHerding", metric_dict={"gamma": 1.0}), _plain),
    "MonteCarloEER": (_made("MonteCarloEER"), _of_head),
    "ProbCover": (_made("ProbCover"), _plain),
    "ProbabilisticAL": (_made("ProbabilisticAL", metric="rbf"), _of_head),
    "QueryByCommittee": (_made("QueryByCommittee"), _of_committee),
    "Quire": (_each_class("Quire"), _plain),
    "RandomSampling": (_made("RandomSampling"), _plain),
    "TypiClust": (_made("TypiClust"), _plain),
    "UncertaintySampling-confidence": (_made("UncertaintySampling"), _of_head),
    "UncertaintySampling-entropy": (_made("UncertaintySampling", method="entropy"), _of_head),
    "UncertaintySampling-margin": (
        _made("UncertaintySampling", method="margin_sampling"),
        _of_head,
    ),
    "ValueOfInformationEER": (_made("ValueOfInformationEER"), _of_head),
}


def opponent(name: str) -> Chooser:
    """Its choices, as a chooser for `model.active_learning.simulation.replay`."""
    make, query = OPPONENTS[name]

    def choose(asked: Asked) -> Sequence[int]:
        free, known = unit_rows(asked.pool.x), unit_rows(asked.pool.labelled)
        x = np.concatenate([free, known])
        y = np.concatenate([np.full(len(free), np.nan), asked.y.astype(float)])
        classes = len(asked.head.classes) if asked.head else 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = query(make(asked.pool.seed, classes), x, y, asked)
        return [int(row) for row in rows]

    return choose
