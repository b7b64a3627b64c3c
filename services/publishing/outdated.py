"""Finds outdated predictions in Label Studio."""

from sqlalchemy import Connection

from services.snapshot import Snapshot
from services.training.train import Trained
from store.tasks.units import TaskId
from store.versions.versions import get_version

CLEARLY_BETTER = 0.02  # accuracy: from here on, old suggestions are worth replacing everywhere


def outdated(db: Connection, snapshot: Snapshot, trained: Trained) -> list[TaskId]:
    """The tasks with a suggestion of a version that is clearly worse than this one."""
    worse: dict[int, bool] = {}
    tasks: list[TaskId] = []
    for task, version_id in snapshot.predictions.items():
        if version_id not in worse:
            version = get_version(db, version_id)
            accuracy = version.metrics.get("accuracy") if version else None
            gain = trained.accuracy.value - (accuracy["value"] if accuracy else 0.0)
            worse[version_id] = gain >= CLEARLY_BETTER
        if worse[version_id] and task not in snapshot.annotated:
            tasks.append(task)
    return tasks
