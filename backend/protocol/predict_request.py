"""The questions of a /predict request: its tasks and their images, entry by entry."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from services.sync.records import task_record
from store.tasks.tasks import TaskRecord
from store.tasks.units import UnitId, unit_of
from studio.config import LabelConfig
from studio.records.requests import PredictRequest
from studio.records.tasks import TaskInfo

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
