"""Since when a control has each of its classes.

Of several classes an annotation says which are there, and by that which are not; but not of a class
that the config did not have yet.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from model.arrays import Floats
from model.targets.encoding import Encoded, path_name
from model.targets.schema import MultiLabel, Paths, TargetSchema
from store.projects.key_values import ProjectKey
from store.store import Store
from studio.config import LabelConfig

# {control: {name of a class: seconds since 1970}}; 0 for those that it had from the start.
Since = Mapping[str, Mapping[str, float]]

CLASSES: ProjectKey[dict[str, dict[str, float]]] = ProjectKey("classes")

# Labels that say that a class isn't there. As long as a class that came later has fewer, labels
# from before it came count as saying so: or it would be seen everywhere.
LEAST_WITHOUT = 20


def class_history(store: Store, project_id: int, config: LabelConfig) -> Since:
    """Since when the config has its classes, as far as it was seen; classes seen first are noted.

    A class that went and came back counts from its first time. Of controls with one choice nothing
    is noted: what was chosen excludes a later class too.
    """
    key = CLASSES.of(project_id)
    with store.database.read() as db:
        known = key.get(db) or {}
    found = {control.name: _classes(control.schema) for control in config.controls}
    now = time.time()
    noted = dict(known)
    for control, classes in found.items():
        first_time = 0.0 if control not in known else now
        noted[control] = dict.fromkeys(classes, first_time) | known.get(control, {})
    noted = {control: classes for control, classes in noted.items() if classes}
    if noted != known:
        store.database.write(lambda db: key.set(db, noted))
    return {
        control: {each: at for each in classes if (at := noted[control][each]) > 0}
        for control, classes in found.items()
        if classes
    }


def leave_unsaid(labels: Encoded, since: Mapping[str, float], at: Floats) -> Encoded:
    """The labels with NaN for the classes that came after them; `at` [M] is when they were made."""
    if labels.form != "multi" or not since:
        return labels
    y = labels.y.copy()
    for column, name in enumerate(labels.names):
        unsaid = (at < since.get(name, 0.0)) & (y[:, column] == 0)
        if np.count_nonzero(y[~unsaid, column] == 0) >= LEAST_WITHOUT:
            y[unsaid, column] = np.nan
    return replace(labels, y=y)


def _classes(schema: TargetSchema) -> list[str]:
    if isinstance(schema, MultiLabel):
        return list(schema.classes)
    if isinstance(schema, Paths):
        return [path_name(path) for path in schema.paths]
    return []
