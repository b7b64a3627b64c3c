"""A scripted annotator that labels the tasks of Label Studio with the ground truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from backend.demo.dataset import CONTROL, TO_NAME, VALUE_KEY
from services.connections.original_settings import is_our_version
from studio.client import StudioClient
from studio.records.annotations import PredictionInfo
from studio.regions import StudioRegion

PERSON_SECONDS = 12.0  # of work on one image; how many tasks are chosen at a time follows from it


@dataclass(frozen=True)
class Labelled:
    """A labelled task, and the suggestion that was shown with it."""

    task: int
    label: str
    suggested: str | None  # None: no suggestion was shown
    version: str  # that gave the task its place or its suggestion; "" when none did
    annotation: int


class Annotator:
    """Labels tasks in a project's label stream."""

    def __init__(self, studio: StudioClient, project: int, truth: Mapping[str, str]) -> None:
        """Args: truth: {name of the uploaded file: class}."""
        self._studio = studio
        self._project = project
        self._truth = truth

    def label_next(self) -> Labelled | None:
        """Label the next task; None when Label Studio has none left."""
        task = self._studio.next_task(self._project)
        if task is None:
            return None
        label = self._truth[true_name(str(task.data[VALUE_KEY]))]
        seen = task.predictions[0] if task.predictions else None
        annotation = self._studio.create_annotation(
            task.id,
            [_region(label)],
            lead_time=PERSON_SECONDS,
            parent_prediction=seen.id if seen and seen.result else None,
        )
        return Labelled(
            task=task.id,
            label=label,
            suggested=_choice(seen) if seen else None,
            version=seen.model_version if seen and is_our_version(seen.model_version) else "",
            annotation=annotation.id,
        )


def true_name(uri: str) -> str:
    """The name of an image's uploaded file, by its URI."""
    # Label Studio puts eight random characters and a hyphen before it.
    return PurePosixPath(uri).name.partition("-")[2]


def _region(label: str) -> StudioRegion:
    return StudioRegion.new(
        from_name=CONTROL, to_name=TO_NAME, kind="choices", value={"choices": [label]}
    )


def _choice(prediction: PredictionInfo) -> str | None:
    for region in prediction.result:
        if region.from_name == CONTROL:
            return str(region.value["choices"][0])
    return None
