"""Features and labels for `simulate`, of a file or of a project."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from backend.cli.errors import CommandError, first_line
from backend.cli.store_access import open_project
from model.active_learning.simulation import Replay, split
from model.arrays import Floats, Indices
from services.snapshot import take_snapshot
from services.training.training_set import training_set

MIN_ROWS = 8  # fewer images make no pool and no test set


def replay_data_of_file(file: Path) -> Callable[[int], Replay]:
    """Load the file, and return its replay data by seed.

    The seed draws the test set where the file has none.

    Raises:
        CommandError: the file can't be read, or its arrays don't match.
    """
    try:
        with file.open("rb") as opened:
            arrays = np.load(opened, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise CommandError(f"{file} is no .npz file: it holds one array", code=2)
            stored = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise CommandError(f"{file} can't be read: {first_line(error)}", code=2) from None
    x, labels = _pair(file, stored, "features", "labels")
    if "test_features" not in stored:
        class_indices = np.asarray(np.unique(labels, return_inverse=True)[1], np.intp)
        return lambda seed: split(x, class_indices, seed=seed)
    test_x, test_labels = _pair(file, stored, "test_features", "test_labels")
    if test_x.shape[1] != x.shape[1]:
        raise CommandError(f"{file}: features and test_features differ in length", code=2)
    both = np.concatenate([labels, test_labels])
    codes = np.asarray(np.unique(both, return_inverse=True)[1], np.intp)
    replay_data = Replay(x, codes[: len(labels)], test_x, codes[len(labels) :])
    return lambda _: replay_data


def _pair(
    file: Path, arrays: dict[str, NDArray[Any]], features: str, labels: str
) -> tuple[Floats, NDArray[Any]]:
    """Features [N, D] and labels [N], without rows that are not finite."""
    missing = [name for name in (features, labels) if name not in arrays]
    if missing:
        raise CommandError(f"{file} has no array {' and no '.join(missing)}", code=2)
    x, y = arrays[features], arrays[labels]
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or x.dtype.kind not in "fiu":
        raise CommandError(
            f"{file}: {features} must be numbers [N, D] and {labels} [N], "
            f"they are {x.dtype} {list(x.shape)} and {list(y.shape)}",
            code=2,
        )
    with np.errstate(over="ignore"):  # what is too large is left out as infinite
        x = x.astype(np.float32)
    finite = np.isfinite(x).all(axis=1)
    if finite.sum() < (MIN_ROWS if features == "features" else 1):
        raise CommandError(f"{file}: {features} has {finite.sum()} usable rows, too few", code=2)
    return x[finite], y[finite]


def labelled_features(project: int, connection: str) -> tuple[Floats, Indices, str]:
    """Embeddings [N, D] and classes [N] of a project's labels, and the control's name.

    The control is the first that has one class an image, with labels enough.

    Raises:
        CommandError: there is no such control, or the project is not connected.
    """
    with open_project(connection, project) as (store, connected):
        snapshot = take_snapshot(store, connected.id)
        if snapshot.config.reason is not None:
            raise CommandError(snapshot.config.reason)
        data = training_set(store, snapshot)
    groups = np.arange(len(data.tasks))
    for control in snapshot.config.controls:
        rows = data.of_control(control, groups)
        classes = rows.learning.class_indices(rows.labels)
        if classes is not None and len(classes) >= MIN_ROWS:
            return rows.x, classes, control.name
    raise CommandError(
        f"project {project} has no control with one class an image and {MIN_ROWS} labels or more"
    )
