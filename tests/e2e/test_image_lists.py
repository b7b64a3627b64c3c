"""Tasks with several images in the real Label Studio: labels of images, suggestions for images."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from backend.demo.annotator import true_name
from backend.demo.run import DemoSession
from backend.demo.textiles import TEXTILES
from services.connections.connect import connect, disconnect
from store.projects.connections import DEFAULT
from store.projects.projects import Project
from studio.client import StudioClient
from studio.records.annotations import PredictionInfo
from studio.regions import StudioRegion
from tests.support.e2e import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

IMAGES = 3  # of each task
LABELLED = 15  # tasks
SUGGESTED = 25  # further tasks, at least: the first few are sent alone, before the others
PLACES = [("most", None), *(("class", item) for item in range(IMAGES))]  # of a suggestion
CONFIG = (
    TEXTILES.label_config.replace('value="$image"', 'valueList="$images"')
    .replace('choice="single"', 'perItem="true"')
    .replace(
        "</View>",
        '<Choices name="most" toName="image"><Choice value="global"/>'
        '<Choice value="other"/></Choices></View>',
    )
)


@dataclass
class Series:
    """A project of tasks with three of the demo's images each."""

    studio: StudioClient
    project: Project
    kinds: dict[int, list[str]]  # {task: class of each image}

    def label(self, task: int) -> None:
        self.studio.create_annotation(task, [*self.each(task), self.all(task)])

    def each(self, task: int) -> list[StudioRegion]:
        return [choice("class", name).at_item(item) for item, name in enumerate(self.kinds[task])]

    def all(self, task: int) -> StudioRegion:
        return choice("most", "global" if self.kinds[task].count("global") > 1 else "other")

    def held(self) -> list[PredictionInfo]:
        """What Label Studio has of the version that it shows."""
        shown = self.studio.get_project(self.project.ls_id).model_version
        found = self.studio.predictions(project=self.project.ls_id)
        return [one for one in found if one.model_version == shown and one.result]


def choice(name: str, value: str) -> StudioRegion:
    return StudioRegion.new(
        from_name=name, to_name="image", kind="choices", value={"choices": [value]}
    )


@pytest.fixture(scope="module")
def series(session: DemoSession) -> Iterator[Series]:
    uris = [str(task.data["image"]) for task in session.studio.tasks(session.project.ls_id)]
    info = session.studio.create_project("Series", CONFIG)
    data = [{"images": uris[i : i + IMAGES]} for i in range(0, len(uris) - IMAGES, IMAGES)]
    session.studio.import_tasks(info.id, data)
    kinds = {
        task.id: [session.truth[true_name(uri)] for uri in task.data["images"]]
        for task in session.studio.tasks(info.id)
    }
    url = session.settings.url
    project = connect(session.store, session.studio, DEFAULT, info.id, url)
    yield Series(session.studio, project, kinds)
    disconnect(session.store, session.studio, project)
    session.studio.delete_project(info.id)


def places(one: PredictionInfo) -> list[tuple[str, int | None]]:
    return [(region.from_name, region.to_json().get("item_index")) for region in one.result]


def test_labels_of_images_give_suggestions_for_images(series: Series) -> None:
    labelled = list(series.kinds)[:LABELLED]
    for task in labelled:
        series.label(task)

    def suggested() -> bool:
        held = series.held()
        others = {one.task for one in held}.difference(labelled)
        return len(others) >= SUGGESTED and all(places(one) == PLACES for one in held)

    wait_until(suggested, "tasks have suggestions for each image, and for all together")
    held = series.held()
    assert len({one.task for one in held}) == len(held)
    right = [
        region.value["choices"] == [series.kinds[one.task][region.item]]
        for one in held
        if one.task not in labelled
        for region in one.result
        if region.from_name == "class"
    ]
    assert len(right) >= SUGGESTED * IMAGES
    assert sum(right) / len(right) > 0.45  # of three classes, chance is right on a third


def test_a_task_opened_by_hand_is_answered_for_every_image(series: Series) -> None:
    task = next(one.task for one in series.held())
    for one in series.studio.predictions(task=task):
        series.studio.delete_prediction(one.id)
    series.studio.get_task(task)  # without a prediction, Label Studio asks the backend
    (one,) = series.studio.predictions(task=task)
    assert places(one) == PLACES
