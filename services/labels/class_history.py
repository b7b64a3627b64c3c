"""Remembers when each class was added to a control.

Of several classes an annotation says which are there, and by that which are not; but not of a class
that the config did not have yet.
"""

import time
from collections.abc import Mapping

from model.targets.kind import kind_of
from model.targets.schema import TargetSchema
from store.projects.key_values import ProjectKey
from store.store import Store
from studio.config import LabelConfig

# {control: {name of a class: seconds since 1970}}; 0 for those that it had from the start.
Since = Mapping[str, Mapping[str, float]]

CLASSES: ProjectKey[dict[str, dict[str, float]]] = ProjectKey("classes")


def class_history(store: Store, project_id: int, config: LabelConfig) -> Since:
    """The time since which the config has each class; new classes are recorded.

    A class that went and came back counts from its first time. Of controls with one choice nothing
    is noted: what was chosen excludes a later class too.
    """
    key = CLASSES.of(project_id)
    with store.database.read() as db:
        stored = key.get(db) or {}
    current = {control.name: _classes(control.schema) for control in config.controls}
    now = time.time()
    updated = dict(stored)
    for control, classes in current.items():
        first_time = 0.0 if control not in stored else now
        updated[control] = dict.fromkeys(classes, first_time) | stored.get(control, {})
    updated = {control: classes for control, classes in updated.items() if classes}
    if updated != stored:
        store.database.write(lambda db: key.set(db, updated))
    for rename in config.renames.classes:  # it is as old as under its old name
        times = updated.get(rename.control, {})
        old, new = rename.old[-1], rename.new[-1]
        if old in times and new in times:
            times[new] = min(times[old], times[new])
    return {
        control: {each: at for each in classes if (at := updated[control][each]) > 0}
        for control, classes in current.items()
        if classes
    }


def _classes(schema: TargetSchema) -> list[str]:
    return list(kind_of(schema).tracked_classes(schema))
