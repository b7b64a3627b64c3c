"""The guests of a project, and their stored suggestions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from services.guests.merging import merge
from services.guests.specification import GuestSpec, guest_specs
from services.guests.state import LoadedModel, loaded_models
from store.predictions.guest_predictions import GuestPrediction, GuestPredictions, TaskData
from store.projects.projects import Project
from store.settings import Settings
from store.tasks.units import TaskId
from studio.config import control_names

# {task: {guest: its suggestion}}, of the guests that have answered
Answers = dict[TaskId, dict[str, GuestPrediction]]
TITLE = " + "  # between the names in a version's


@dataclass(frozen=True)
class ProjectGuests:
    """The guests that serve a project, in order, and {guest: its model}, of those loaded once."""

    project_id: int
    specs: tuple[GuestSpec, ...]
    models: Mapping[str, LoadedModel]
    controls: frozenset[str]  # all of the label config's

    def stored(self, predictions: GuestPredictions, tasks: Mapping[TaskId, TaskData]) -> Answers:
        """The stored suggestions for tasks, by the models of today."""
        answers: Answers = {task: {} for task in tasks}
        for guest, model in self.models.items():
            found = predictions.get(self.project_id, guest, model.key, tasks)
            for task, prediction in found.items():
                answers[task][guest] = prediction
        return answers

    def unseen(
        self, predictions: GuestPredictions, guest: str, tasks: Mapping[TaskId, TaskData]
    ) -> list[TaskId]:
        """Those of `tasks`, in order, for which a guest has no stored suggestion of today's."""
        model = self.models.get(guest)
        if model is None:
            return list(tasks)
        seen = predictions.seen(self.project_id, guest, model.key, tasks)
        return [task for task in tasks if task not in seen]

    def missing(self, answers: Answers, guest: str) -> list[TaskId]:
        """The tasks that a guest hasn't answered."""
        return [task for task, given in answers.items() if guest not in given]

    def incomplete(self, answers: Answers) -> list[TaskId]:
        """The tasks that some guest hasn't answered."""
        return [task for task, given in answers.items() if len(given) < len(self.specs)]

    def merge(
        self, ours: Sequence[dict[str, Any]], given: Mapping[str, GuestPrediction]
    ) -> list[dict[str, Any]]:
        """The regions of a task: ours, and the guests'."""
        regions = {guest: prediction.regions for guest, prediction in given.items()}
        return merge(ours, regions, self.specs)

    @property
    def title(self) -> str:
        """The guests' versions, as a version's name ends: "SamGuest 0.0.1"."""
        return TITLE.join(
            f"{spec.name} {model.version}".strip() if model.version else spec.name
            for spec in self.specs
            if (model := self.models.get(spec.name)) is not None
        )


def project_guests(
    db: Connection, guests: Iterable[GuestSpec], project: Project
) -> ProjectGuests | None:
    """The guests that serve the project; None when none does."""
    controls = control_names(project.label_config)
    specs = tuple(guest for guest in guests if guest.serves(set(controls)))
    if not specs:
        return None
    return ProjectGuests(project.id, specs, loaded_models(db, specs, project.id), controls)


def guests_serve(settings: Settings, label_config: str) -> bool:
    """Whether some guest serves projects with this label config."""
    if not settings.guests:
        return False
    controls = set(control_names(label_config))
    return any(guest.serves(controls) for guest in guest_specs(settings))


def confidence_of(given: Mapping[str, GuestPrediction]) -> float:
    """How sure the least sure guest is of a task, in [0, 1]; 1 where none says."""
    return min((each.score for each in given.values() if each.score is not None), default=1.0)
