"""Pages of a Repeater in the real Label Studio, and classes that get other names."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from backend.demo.annotator import true_name
from backend.demo.run import DemoSession
from backend.demo.textiles import CLASSES
from backend.views.status import Status, project_status
from services.connections.connect import connect, disconnect
from services.labels.renaming import change_name
from store.projects.connections import DEFAULT
from store.projects.projects import Project, get_project
from studio.client import StudioClient
from studio.records.annotations import PredictionInfo
from studio.regions import StudioRegion
from tests.support.e2e import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

PAGES = 2  # of each task
LABELLED = 15  # tasks
CHOICES = "".join(f'<Choice value="{name}"/>' for name in CLASSES)
CONFIG = f"""<View><Repeater on="$pages" indexFlag="{{{{idx}}}}"><View>
<Image name="p_{{{{idx}}}}" value="$pages[{{{{idx}}}}].scan.url"/>
<Choices name="k_{{{{idx}}}}" toName="p_{{{{idx}}}}">{CHOICES}</Choices></View></Repeater></View>"""
RENAMED = CONFIG.replace('value="global"', 'value="global" alias="whole"')


@dataclass
class Scans:
    """A project of tasks with two of the demo's images each."""

    session: DemoSession
    project: Project
    kinds: dict[int, list[str]]  # {task: class of each page}

    @property
    def studio(self) -> StudioClient:
        return self.session.studio

    @property
    def status(self) -> Status:
        store = self.session.store
        with store.database.read() as db:
            project = get_project(db, self.project.id)
        assert project is not None
        return project_status(store, project)

    def label(self, task: int) -> None:
        names = enumerate(self.kinds[task])
        self.studio.create_annotation(task, [page(number, name) for number, name in names])

    def held(self) -> list[PredictionInfo]:
        """What Label Studio has of the version that it shows."""
        shown = self.studio.get_project(self.project.ls_id).model_version
        found = self.studio.predictions(project=self.project.ls_id)
        return [one for one in found if one.model_version == shown and one.result]

    def suggested(self) -> list[str]:
        return [region.value["choices"][0] for one in self.held() for region in one.result]


def page(number: int, name: str) -> StudioRegion:
    return StudioRegion.new(f"k_{number}", f"p_{number}", "choices", {"choices": [name]})


@pytest.fixture(scope="module")
def scans(session: DemoSession) -> Iterator[Scans]:
    uris = [str(task.data["image"]) for task in session.studio.tasks(session.project.ls_id)]
    info = session.studio.create_project("Scans", CONFIG)
    pairs = zip(uris[::2], uris[1::2], strict=False)
    data = [{"pages": [{"scan": {"url": uri}} for uri in pair]} for pair in pairs]
    session.studio.import_tasks(info.id, data)
    kinds = {
        task.id: [session.truth[true_name(each["scan"]["url"])] for each in task.data["pages"]]
        for task in session.studio.tasks(info.id)
    }
    project = connect(session.store, session.studio, DEFAULT, info.id, session.settings.url)
    yield Scans(session, project, kinds)
    disconnect(session.store, session.studio, project)
    session.studio.delete_project(info.id)


def places(one: PredictionInfo) -> list[tuple[str, object]]:
    return [(region.from_name, region.to_json()["to_name"]) for region in one.result]


def test_labels_of_pages_give_suggestions_for_pages(scans: Scans) -> None:
    labelled = list(scans.kinds)[:LABELLED]
    for task in labelled:
        scans.label(task)
    expected = [(f"k_{number}", f"p_{number}") for number in range(PAGES)]

    def suggested() -> bool:
        held = [one for one in scans.held() if one.task not in labelled]
        return len(held) >= 10 and all(places(one) == expected for one in held)

    wait_until(suggested, "tasks have suggestions for each page")
    assert scans.status.images == PAGES * scans.status.tasks
    held = [one for one in scans.held() if one.task not in labelled]
    right = [
        region.value["choices"] == [scans.kinds[one.task][number]]
        for one in held
        for number, region in enumerate(one.result)
    ]
    assert sum(right) / len(right) > 0.45  # of three classes, chance is right on a third


def test_a_task_opened_by_hand_is_answered_for_every_page(scans: Scans) -> None:
    task = next(one.task for one in scans.held())
    for one in scans.studio.predictions(task=task):
        scans.studio.delete_prediction(one.id)
    scans.studio.get_task(task)  # without a prediction, Label Studio asks the backend
    (one,) = scans.studio.predictions(task=task)
    assert [name for name, _ in places(one)] == ["k_0", "k_1"]


def test_a_class_that_got_an_alias_is_named_and_mapped(scans: Scans) -> None:
    scans.studio.patch_project(scans.project.ls_id, label_config=RENAMED)
    wait_until(lambda: bool(scans.status.problems), "the status names the old class")
    (problem,) = scans.status.problems
    assert "no longer has: global" in problem.sentence
    assert problem.sentence.endswith(f"--project {scans.project.ls_id} global whole`")
    database, project = scans.session.store.database, scans.project
    database.write(lambda db: change_name(db, project, "global", "whole"))
    wait_until(lambda: "whole" in scans.suggested(), "the class is suggested by its alias")
    assert not scans.status.problems
    assert "global" not in scans.suggested()
