"""Suggestions of guest models, keyed by project, guest and task. A cache.

On SQLite in a file of its own, since a mask takes up to a megabyte and webhooks' commits mustn't
wait for it; otherwise a plain table. It can be computed again.
"""

import hashlib
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Double,
    Integer,
    MetaData,
    Table,
    Text,
    delete,
    make_url,
    select,
)

from store.database.chunks import chunks
from store.database.engine import make_engine
from store.settings import Settings
from store.tasks.units import TaskId

metadata = MetaData()
guest_prediction = Table(
    "guest_prediction",
    metadata,
    Column("project_id", Integer, primary_key=True),
    Column("guest", Text, primary_key=True),
    Column("task_ls_id", Integer, primary_key=True),
    Column("model", Text, nullable=False),  # the model that made it, and the label config
    Column("data", Text, nullable=False),  # a hash of the task's data
    Column("regions", JSON, nullable=False),
    Column("score", Double),  # how sure the guest is, in [0, 1]
    Column("at", Double, nullable=False),
)

TaskData = Mapping[str, Any]


@dataclass(frozen=True)
class GuestPrediction:
    """A guest's suggestion for a task; `score` is None where the guest doesn't say how sure."""

    regions: list[dict[str, Any]]
    score: float | None


def data_digest(data: TaskData) -> str:
    """A hash of a task's data: another image has another suggestion."""
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


class GuestPredictions:
    """The stored suggestions of all guests. The table is created where it is missing."""

    def __init__(self, settings: Settings) -> None:
        url = settings.database
        if make_url(url).get_backend_name() == "sqlite":
            url = f"sqlite:///{settings.home / 'guests.db'}"
        self._reader = make_engine(url, synchronous="NORMAL")
        self._writer = make_engine(url, synchronous="NORMAL", write=True, size=1)
        metadata.create_all(self._writer)

    def put(
        self,
        project_id: int,
        guest: str,
        model: str,
        tasks: Mapping[TaskId, TaskData],
        predictions: Mapping[TaskId, GuestPrediction],
    ) -> None:
        """Store suggestions in place of earlier ones.

        Args:
            model: the key of the model that made them.
            tasks: {task: its data}, of each task at least that has a suggestion.
        """
        rows = [
            {
                "project_id": project_id,
                "guest": guest,
                "task_ls_id": task,
                "model": model,
                "data": data_digest(tasks[task]),
                "regions": prediction.regions,
                "score": prediction.score,
                "at": time.time(),
            }
            for task, prediction in predictions.items()
        ]
        if not rows:
            return
        with self._writer.connect() as connection, connection.begin():
            for ids in chunks(predictions):
                connection.execute(
                    delete(guest_prediction).where(
                        guest_prediction.c.project_id == project_id,
                        guest_prediction.c.guest == guest,
                        guest_prediction.c.task_ls_id.in_(ids),
                    )
                )
            connection.execute(guest_prediction.insert(), rows)

    def get(
        self, project_id: int, guest: str, model: str, tasks: Mapping[TaskId, TaskData]
    ) -> dict[TaskId, GuestPrediction]:
        """{task: suggestion} of those of `tasks` that this model has seen with these data."""
        found: dict[TaskId, GuestPrediction] = {}
        with self._reader.connect() as connection:
            for ids in chunks(tasks):
                rows = connection.execute(
                    select(guest_prediction).where(
                        guest_prediction.c.project_id == project_id,
                        guest_prediction.c.guest == guest,
                        guest_prediction.c.model == model,
                        guest_prediction.c.task_ls_id.in_(ids),
                    )
                )
                for row in rows:
                    task = TaskId(row.task_ls_id)
                    if row.data == data_digest(tasks[task]):
                        found[task] = GuestPrediction(row.regions, row.score)
        return found

    def seen(
        self, project_id: int, guest: str, model: str, tasks: Mapping[TaskId, TaskData]
    ) -> set[TaskId]:
        """Those of `tasks` that this model has seen with these data."""
        columns = guest_prediction.c.task_ls_id, guest_prediction.c.data
        query = select(*columns).where(
            guest_prediction.c.project_id == project_id,
            guest_prediction.c.guest == guest,
            guest_prediction.c.model == model,
        )
        with self._reader.connect() as connection:
            stored = {TaskId(row.task_ls_id): row.data for row in connection.execute(query)}
        return {task for task, data in tasks.items() if stored.get(task) == data_digest(data)}

    def prune(self, project_id: int, guest: str, tasks: Collection[TaskId]) -> None:
        """Delete the suggestions for tasks."""
        with self._writer.connect() as connection, connection.begin():
            for ids in chunks(tasks):
                connection.execute(
                    delete(guest_prediction).where(
                        guest_prediction.c.project_id == project_id,
                        guest_prediction.c.guest == guest,
                        guest_prediction.c.task_ls_id.in_(ids),
                    )
                )

    def close(self) -> None:
        """Let go of the database."""
        self._reader.dispose()
        self._writer.dispose()
