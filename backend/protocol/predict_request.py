"""The tasks and images of a /predict request; a malformed task gets an empty answer."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, NewType

from services.sync.records import task_record
from store.tasks.tasks import TaskRecord
from store.tasks.units import UnitId, unit_of
from studio.config import LabelConfig
from studio.records.base import MalformedCount
from studio.records.requests import PredictRequest
from studio.records.tasks import TaskInfo

# The task's position in the request and the image's in the task, as one number: the garbage
# collector looks at tuples, and a request brings a thousand.
ImageKey = NewType("ImageKey", int)
IMAGES = 1_000_000  # more than a task may have


@dataclass(frozen=True)
class RequestedTask:
    """A well-formed task of a request, with its position in it."""

    position: int
    task: TaskRecord
    annotated: bool  # Label Studio says that it has an annotation

    @cached_property
    def images(self) -> list["RequestedImage"]:
        """The task's images, in order."""
        return [
            RequestedImage(
                self,
                item,
                uri,
                unit_of(self.task.ls_id, item),
                ImageKey(self.position * IMAGES + item),
            )
            for item, uri in enumerate(self.task.uris)
        ]


class RequestedImage(NamedTuple):
    """An image of a requested task."""

    requested: RequestedTask
    item: int
    uri: str | None
    unit: UnitId
    key: ImageKey


def parse_tasks(
    request: PredictRequest, config: LabelConfig
) -> tuple[list[RequestedTask], MalformedCount]:
    """The well-formed tasks, and a count of the others by reason."""
    tasks: list[RequestedTask] = []
    malformed = MalformedCount()
    for position, value in enumerate(request.tasks):
        if not isinstance(value, dict):  # there may be a million
            malformed.add("a task must be an object", position)
            continue
        try:
            task = TaskInfo.with_data(value)
        except ValueError as error:
            malformed.add(str(error), position)
        else:
            tasks.append(RequestedTask(position, task_record(config, task), task.is_annotated))
    return tasks, malformed
