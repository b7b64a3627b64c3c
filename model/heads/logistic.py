"""Logistic regression with an L2 penalty whose strength is chosen by cross-validation.

All of it happens in the rows' principal components: with fewer rows than features that is exact and
far smaller, with more it keeps the components that matter. The strength goes by the log-loss of
held-out rows, which also leaves the probabilities nearly calibrated.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.folds import grouped_folds
from model.heads import solver
from model.heads.features import Basis, Floats, basis, fitting_power, normalise
from model.heads.linear import LinearHead, spread
from model.heads.registry import HEADS, FitData, Head

KIND = "logistic"

# Strong to weak, for rows whose total variance is one and the mean loss of a row.
PENALTIES: tuple[float, ...] = tuple(10.0 ** (-step / 2) for step in range(1, 13))
# The path is left after this many penalties in a row that were no better than the best.
PATIENCE = 2

FIT_RANK = 512  # components; 256 cost 0.3 points on 1,000 labels of ten classes
SEARCH_RANK = 256  # the choice of the penalty needs fewer of them

# Rows up to which all five folds are held out in turn; above, three of them, then one is enough to
# compare penalties.
FIVE_FOLDS_ROWS = 1000
THREE_FOLDS_ROWS = 2000

SEARCH_TOLERANCE = 1e-4  # nats
FIT_TOLERANCE = 1e-6  # nats

# Each row counts (class size) ** −this: rare classes a little more. At 0.5 accuracy on draws from
# an imbalanced pool falls by a point, at 0 the rarest classes are hardly ever suggested.
BALANCE = 0.25


@HEADS.register(KIND)
class LogisticKind:
    """The kind `logistic`."""

    def fit(self, data: FitData) -> LinearHead:
        """A head of the classes that have rows; the others get −inf."""
        power = fitting_power(data.x)
        rows = normalise(data.x, power)
        coordinates_of = basis(rows, FIT_RANK)
        z = coordinates_of.coordinates(rows)
        seen, label = np.unique(data.y, return_inverse=True)
        if isinstance(data.settings_of, LinearHead) and data.settings_of.kind == KIND:
            penalty = data.settings_of.penalty
        else:
            penalty = _choose_penalty(z, label, len(seen), data)
        start = _start(data.warm_start, data.classes, seen, coordinates_of, power)
        w = solver.minimise(
            solver.problem(z, label, len(seen), _weights(label)),
            penalty,
            start,
            tolerance=FIT_TOLERANCE,
        )
        weight, bias = coordinates_of.to_features(w)
        weight, bias = spread(seen, len(data.classes), weight, bias)
        return LinearHead(KIND, data.classes, weight, bias, power, penalty)

    def load(self, classes: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> LinearHead:
        """The head of stored arrays."""
        return LinearHead.from_arrays(KIND, classes, arrays)


def _weights(label: NDArray[np.intp]) -> Floats:
    """How much each row [n] counts, 1 on average: more where its class is rare."""
    sizes = np.bincount(label).astype(np.float32)
    weights: Floats = sizes[label] ** np.float32(-BALANCE)
    return weights


def _choose_penalty(z: Floats, label: NDArray[np.intp], classes: int, data: FitData) -> float:
    """The penalty of PENALTIES with the least log-loss on rows that were held out."""
    splits = _splits(label, data)
    if not splits:
        return PENALTIES[len(PENALTIES) // 3]
    weights = _weights(label)
    tried = z[:, :SEARCH_RANK]
    problems = [
        solver.problem(tried[train], label[train], classes, weights[train]) for train, _ in splits
    ]
    starts: list[Floats] = [np.zeros((tried.shape[1] + 1, classes), np.float32) for _ in splits]
    best, least, worse = PENALTIES[0], np.inf, 0
    for penalty in PENALTIES:
        loss = 0.0
        for index, (_, test) in enumerate(splits):
            w = solver.minimise(problems[index], penalty, starts[index], tolerance=SEARCH_TOLERANCE)
            starts[index] = w
            loss += solver.log_loss(tried[test], label[test], weights[test], w)
        if loss < least:
            best, least, worse = penalty, loss, 0
        else:
            worse += 1
            if worse == PATIENCE:
                break
    return best


def _splits(
    label: NDArray[np.intp], data: FitData
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Masks [n] of the rows to fit on and of those to try on, a pair a fold.

    A row whose class has no row outside its fold is not tried: no penalty makes it right.
    """
    folds = grouped_folds(label, data.groups, 5, seed=data.seed)
    used = 5 if len(label) <= FIVE_FOLDS_ROWS else 3 if len(label) <= THREE_FOLDS_ROWS else 1
    splits = []
    for fold in range(min(used, int(folds.max()) + 1)):
        train = folds != fold
        test = ~train & np.isin(label, label[train])
        if test.any() and len(np.unique(label[train])) > 1:
            splits.append((train, test))
    return splits


def _start(
    warm: Head | None,
    classes: tuple[str, ...],
    seen: NDArray[np.intp],
    coordinates_of: Basis,
    power: float,
) -> Floats:
    """Weights [r + 1, C] to start from: an earlier head's where it has the class, else zero."""
    start = np.zeros((coordinates_of.axes.shape[1] + 1, len(seen)), np.float32)
    if not isinstance(warm, LinearHead) or warm.kind != KIND or warm.power != power:
        return start
    if len(warm.weight) != len(coordinates_of.axes):
        return start
    known = {
        name: index for index, name in enumerate(warm.classes) if np.isfinite(warm.bias[index])
    }
    for column, index in enumerate(seen):
        earlier = known.get(classes[index])
        if earlier is not None:
            weight = warm.weight[:, earlier]
            start[:-1, column] = coordinates_of.from_features(weight)
            start[-1, column] = warm.bias[earlier] + coordinates_of.mean @ weight
    return start
