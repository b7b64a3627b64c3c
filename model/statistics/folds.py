"""Splits rows into cross-validation folds, by groups and stratified by class."""

import numpy as np
from numpy.typing import NDArray

from model.arrays import Indices, Ints


def grouped_folds(y: Ints, groups: NDArray[np.generic], folds: int, *, seed: int) -> Indices:
    """Assign each of N rows to a fold, 0 … at most `folds` − 1, none empty: [N].

    Rows of one group share a fold. Groups are assigned in turn, the rarest class first and the
    largest groups of a class first, each to the fold with the fewest rows of its class, then with
    the fewest rows. `y` [N] are class indices, `groups` [N] any values.
    """
    _, group = np.unique(groups, return_inverse=True)
    labels, label = np.unique(y, return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    members = np.zeros((count, len(labels)), np.intp)  # rows of each class in each group
    np.add.at(members, (group, label), 1)
    class_size = members.sum(axis=0)
    main_class = members.argmax(axis=1)
    shuffled = np.random.default_rng(seed).permutation(count)
    order = shuffled[np.lexsort((-members.sum(axis=1)[shuffled], class_size[main_class[shuffled]]))]
    folds = min(folds, count)
    filled = np.zeros((folds, len(labels)), np.intp)
    size = np.zeros(folds, np.intp)
    fold_of = np.zeros(count, np.intp)
    for index in order:
        class_rows = filled[:, main_class[index]]
        fold = int(np.lexsort((size, class_rows))[0])
        fold_of[index] = fold
        filled[fold] += members[index]
        size[fold] += members[index].sum()
    return fold_of[group]
