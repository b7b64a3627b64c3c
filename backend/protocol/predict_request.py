"""A /predict request: what it asks, entry by entry. Malformed entries still get their place."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from backend.http.request_bodies import RequestError, kind
from services.sync.records import task_record
from store.tasks.tasks import TaskRecord
from store.tasks.units import UnitId, unit_of
from studio.config import LabelConfig
from studio.records.fields import text
from studio.records.projects import ProjectRef
from studio.records.tasks import TaskInfo


@dataclass(frozen=True)
class PredictRequest:
    """What /predict asks. One entry is owed for each of `tasks`, whatever they are."""

    project: ProjectRef
    label_config: str  # empty when the request has none
    tasks: list[Any]
    interactive: bool  # the annotator's editor asks: Label Studio doesn't keep the answer

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "PredictRequest":
        """Read the request's body.

        Raises:
            RequestError: 400, when it can't be answered entry by entry.
        """
        tasks = body.get("tasks")
        if not isinstance(tasks, list):
            raise RequestError(400, f'"tasks" must be a list, not {kind(tasks)}')
        try:
            project = ProjectRef.parse(body.get("project"))
        except ValueError as error:
            raise RequestError(400, str(error)) from None
        params = body.get("params")
        interactive = isinstance(params, Mapping) and params.get("context") is not None
        return cls(project, text(body.get("label_config")), tasks, interactive)


ImageKey = tuple[int, int]  # a question's position and which image of its task


@dataclass(frozen=True)
class Question:
    """A well-formed task of the request, at its place in it."""

    position: int
    task: TaskRecord
    annotated: bool  # Label Studio says that it has an annotation

    @cached_property
    def images(self) -> list["AskedImage"]:
        """What the task shows, in order."""
        return [
            AskedImage(self, item, uri, unit_of(self.task.ls_id, item), (self.position, item))
            for item, uri in enumerate(self.task.uris)
        ]


class AskedImage(NamedTuple):
    """One image of a question's task; mostly the only one."""

    question: Question
    item: int
    uri: str | None
    unit: UnitId
    key: ImageKey


def read_questions(
    request: PredictRequest, config: LabelConfig
) -> tuple[list[Question], dict[int, str]]:
    """The well-formed tasks, and {position: why} of the others."""
    questions: list[Question] = []
    malformed: dict[int, str] = {}
    for position, value in enumerate(request.tasks):
        try:
            task = TaskInfo.with_data(value)
        except ValueError as error:
            malformed[position] = str(error)
        else:
            questions.append(Question(position, task_record(config, task), task.is_annotated))
    return questions, malformed
