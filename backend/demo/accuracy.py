"""Measures the accuracy of served suggestions on unlabelled images.

Suggestions are computed from the store as /predict does, since /predict itself would record them
as shown in Label Studio.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from backend.demo.annotator import true_name
from backend.demo.dataset import CONTROL
from services.suggestions.predictor import Predictor
from store.projects.projects import Project
from store.store import Store
from store.tasks.annotations import annotated_tasks
from store.tasks.tasks import list_tasks
from store.versions.versions import get_version
from studio.config import parse_label_config


@dataclass(frozen=True)
class RestAccuracy:
    """The unlabelled images, of `total`, whose most probable class is the true one."""

    right: frozenset[int]  # the tasks' ids in Label Studio
    total: int
    version: str

    @property
    def value(self) -> float:
        """The share that is right."""
        return len(self.right) / self.total


def rest_accuracy(store: Store, project: Project, truth: Mapping[str, str]) -> RestAccuracy | None:
    """The served version's accuracy; None while no version with suggestions is served.

    Args:
        truth: {name of the uploaded file: class}.
    """
    with store.database.read() as db:
        version = get_version(db, project.served_version_id or 0)
        labelled = annotated_tasks(db, project.id)
        tasks = [t for t in list_tasks(db, project.id) if t.ls_id not in labelled and t.image_key]
    if version is None or version.artifact is None:
        return None
    predictor = Predictor.load(store, version)
    keys = [task.image_key or "" for task in tasks]
    vectors = store.embeddings.get(predictor.space, keys)
    tasks = [task for task in tasks if task.image_key in vectors]
    config = parse_label_config(project.label_config)
    control = config.control(CONTROL)
    if not tasks or control is None:
        return None
    x = np.stack([vectors[task.image_key or ""] for task in tasks])
    suggestions = predictor.suggest(config, x, 0.0)
    right = frozenset(
        task.ls_id
        for task, suggestion in zip(tasks, suggestions, strict=True)
        if control.read(suggestion.result) == truth[true_name(task.uri or "")]
    )
    return RestAccuracy(right, len(tasks), version.name)
