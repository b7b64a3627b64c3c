"""Adds the stored suggestions of guests to predictions that are pushed."""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from services.guests.project_guests import ProjectGuests, project_guests
from services.guests.specification import guest_specs
from services.guests.state import FAILED, REPORT
from services.suggestions.control_group import in_control_group
from store.predictions.guest_predictions import GuestPredictions, TaskData
from store.predictions.publications import Chunk, PredictionItem, Publication
from store.projects.projects import Project
from store.store import Store
from store.tasks.tasks import task_data
from store.tasks.units import TaskId
from studio.config import parse_label_config


class StoredGuests:
    """The guests of a project, for pushes. A push doesn't ask them: the job `predict` does."""

    def __init__(self, store: Store, project: Project, guests: ProjectGuests) -> None:
        self._store, self._project, self._guests = store, project, guests
        self._predictions = GuestPredictions(store.settings)
        self._mixed = bool(parse_label_config(project.label_config).controls)

    @classmethod
    def open(cls, store: Store, project: Project) -> "StoredGuests | None":
        """Open them; None where no guest serves the project.

        Raises:
            GuestSettingError: the settings name a guest that can't be.
        """
        if not store.settings.guests:
            return None
        with store.database.read() as db:
            guests = project_guests(db, guest_specs(store.settings), project)
        return None if guests is None else cls(store, project, guests)

    def await_answers(self, chunk: Chunk, publication: Publication) -> bool:
        """Whether a chunk's push is to wait for guests: a prediction is never replaced.

        It waits as long as a guest may take, and for no guest that is known to be away.
        """
        if time.time() - publication.created_at > self._store.settings.guest_seconds:
            return False
        with self._store.database.read() as db:
            report = REPORT.get(db)
        away = {each.name for each in report.guests if each.state == FAILED} if report else set()
        data = self._data([item.task for item in chunk.items])
        return any(
            spec.name not in away and self._guests.unseen(self._predictions, spec.name, data)
            for spec in self._guests.specs
        )

    def merge(self, items: Sequence[PredictionItem]) -> tuple[list[PredictionItem], set[TaskId]]:
        """Add the guests' regions to items, but for tasks of the control group.

        Returns:
            The items, and the tasks that lack the part of a guest.
        """
        answers = self._guests.stored(self._predictions, self._data([item.task for item in items]))
        share = self._store.settings.blind_share if self._mixed else 0.0
        hidden = {item.task for item in items if in_control_group(self._project, item.task, share)}
        merged = [
            item
            if item.task in hidden
            else replace(item, result=self._guests.merge(item.result, answers.get(item.task, {})))
            for item in items
        ]
        return merged, set(self._guests.incomplete(answers)) - hidden

    def unanswered(self, tasks: Collection[TaskId]) -> set[TaskId]:
        """Those of `tasks` that some guest has not answered."""
        data = self._data(tasks)
        return {
            task
            for spec in self._guests.specs
            for task in self._guests.unseen(self._predictions, spec.name, data)
        }

    def _data(self, tasks: Collection[TaskId]) -> dict[TaskId, TaskData]:
        with self._store.database.read() as db:
            return task_data(db, self._project.id, tasks)
