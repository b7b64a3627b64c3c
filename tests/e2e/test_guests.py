"""Guest models beside Apprentice's own, with the real Label Studio: one of 2.x and one of 1.0.9."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from backend.demo.annotator import true_name
from backend.demo.process import ApprenticeProcess, free_port
from backend.demo.run import DemoSession
from backend.demo.textiles import CLASSES
from backend.doctor.readiness import not_ready
from services.connections.connect import connect, disconnect
from services.guests.state import GuestStatus, fitted_key
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import Project
from store.store import Store
from store.work.jobs import Job, list_jobs
from store.work.pending_work import list_wanted
from studio.client import StudioClient
from studio.records.annotations import PredictionInfo
from studio.regions import StudioRegion
from tests.support.e2e import processes, wait_until
from tests.support.guests import OLDER, RECTANGLES, report_of, set_mood

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

IMAGES = 24
LABELLED = 12
TONES = ("good", "bad")


def choices(name: str, values: tuple[str, ...]) -> str:
    options = "".join(f'<Choice value="{value}"/>' for value in values)
    return f'<Choices name="{name}" toName="image">{options}</Choices>'


CONFIG = f"""<View><Image name="image" value="$image"/>
{choices("tone", TONES)}{choices("kind", tuple(CLASSES))}
<RectangleLabels name="box" toName="image"><Label value="thing"/></RectangleLabels></View>"""
ALL = ["box", "kind", "tone"]
WITHOUT_BOX = ["kind", "tone"]


@dataclass
class Guests:
    """An Apprentice of its own with two guests, connected to a project of the session's."""

    studio: StudioClient
    apprentice: ApprenticeProcess
    store: Store
    project: Project
    kinds: dict[int, str]  # {task: class}
    uris: list[str]

    @property
    def version(self) -> str:
        """The version that Label Studio shows."""
        return self.studio.get_project(self.project.ls_id).model_version

    def held(self) -> dict[int, PredictionInfo]:
        """{task: prediction of the version that Label Studio shows}."""
        found = self.studio.predictions(project=self.project.ls_id)
        shown = self.version
        return {one.task: one for one in found if one.model_version == shown}

    def label(self, task: int, tone: str = "bad") -> None:
        values = {"kind": self.kinds[task], "tone": tone}
        regions = [
            StudioRegion.new(name, "image", "choices", {"choices": [value]})
            for name, value in values.items()
        ]
        self.studio.create_annotation(task, regions)

    def open_new(self) -> int:
        """Import a task and open it by hand: Label Studio asks the backend."""
        known = set(self.studio.task_ids(self.project.ls_id))
        self.studio.import_tasks(self.project.ls_id, [{"image": self.uris[IMAGES + len(known)]}])
        (task,) = set(self.studio.task_ids(self.project.ls_id)) - known
        self.studio.get_task(task)
        return task

    def at_rest(self) -> bool:
        """Whether no job is wanted: no other version is on its way."""
        with self.store.database.read() as db:
            return not list_wanted(db)

    def rectangles(self) -> GuestStatus:
        return report_of(self.store)["Rectangles"]

    def trainings(self) -> list[Job]:
        with self.store.database.read() as db:
            return [job for job in list_jobs(db, self.project.id, 1_000) if job.kind == "guest"]

    def command(self, *arguments: str) -> str:
        """What a command of Apprentice prints."""
        done = subprocess.run(
            [sys.executable, "-m", "backend.cli", *arguments],
            env=self.apprentice.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


@pytest.fixture(scope="module")
def guests(session: DemoSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    home = tmp_path_factory.mktemp("guests")
    (home / "backbones").symlink_to(session.settings.home / "backbones")
    settings = {
        "APPRENTICE_GUESTS": f"{RECTANGLES}@box; {OLDER}@tone",
        "APPRENTICE_GUEST_SECONDS": "3",
        "APPRENTICE_MIN_CONFIDENCE": "0",
        "APPRENTICE_BLIND_SHARE": "0",
        "APPRENTICE_FINETUNE": "manual",
    }
    apprentice = ApprenticeProcess(home, free_port(0), home / "apprentice.log", settings)
    apprentice.start()
    try:
        studio = session.studio
        uris = [str(task.data["image"]) for task in studio.tasks(session.project.ls_id)]
        info = studio.create_project("Guests", CONFIG)
        studio.import_tasks(info.id, [{"image": uri} for uri in uris[:IMAGES]])
        kinds = {
            task.id: session.truth[true_name(str(task.data["image"]))]
            for task in studio.tasks(info.id)
        }
        wait_until(lambda: not not_ready(apprentice.settings), "Apprentice is ready")
        store = Store.open(apprentice.settings)
        url, token = session.label_studio.url, session.label_studio.token
        store.database.write(lambda db: save_connection(db, DEFAULT, url, token))
        project = connect(store, studio, DEFAULT, info.id, apprentice.settings.url)
        yield Guests(studio, apprentice, store, project, kinds, uris)
        disconnect(store, studio, project)
        studio.delete_project(info.id)
        store.close()
    finally:
        apprentice.stop()


def controls(one: PredictionInfo | None) -> list[str]:
    return sorted(region.from_name for region in one.result) if one else []


def test_labels_give_suggestions_of_all_models_and_train_the_guests(guests: Guests) -> None:
    labelled = list(guests.kinds)[:LABELLED]
    for task in labelled:
        guests.label(task)

    def trained() -> bool:
        name = guests.version
        return name.startswith("apprentice v") and "Rectangles rect-" in name

    wait_until(trained, "a version with the guests is shown")

    def merged() -> bool:
        open_tasks = [one for task, one in guests.held().items() if task not in labelled]
        return len(open_tasks) >= IMAGES - LABELLED and all(
            controls(one) == ALL and tone_of(one) == "bad" for one in open_tasks
        )

    wait_until(merged, "Label Studio holds suggestions of all three models")
    (box,) = (r for r in next(iter(guests.held().values())).result if r.from_name == "box")
    assert box.value["rectanglelabels"] == ["thing"]
    assert "rect-1" not in guests.version, "it was trained"
    with guests.store.database.read() as db:
        fitted = fitted_key("MostFrequent", guests.project.id).get(db)
    assert fitted is not None
    assert (fitted.train_output or {})["best"] == "bad"
    assert guests.version.endswith(f"MostFrequent {fitted.version}")


def tone_of(one: PredictionInfo) -> str:
    return next(r.value["choices"][0] for r in one.result if r.from_name == "tone")


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("none", "predict returned None"),
        ("hang", "no answer in time"),
        ("crash", "its process ended with code 7"),
    ],
)
def test_while_a_guest_fails_the_others_suggest_and_its_part_follows(
    guests: Guests, mood: str, reason: str
) -> None:
    wait_until(guests.at_rest, "nothing is under way")
    set_mood(guests.store, mood)
    task = guests.open_new()
    wait_until(lambda: controls(guests.held().get(task)) == WITHOUT_BOX, "the others' suggestions")
    before = guests.held()[task].id
    wait_until(lambda: reason in (guests.rectangles().reason or ""), "the reason is known")
    page = httpx.get(guests.apprentice.settings.url, headers={"Accept": "text/html"}).text
    assert reason in page
    set_mood(guests.store, "")
    wait_until(lambda: controls(guests.held().get(task)) == ALL, "its part has followed")
    assert guests.held()[task].id == before


def test_a_training_is_cancelled(guests: Guests) -> None:
    done = len(guests.trainings())
    set_mood(guests.store, "fit hang")
    guests.label(list(guests.kinds)[LABELLED])

    def learns() -> bool:
        newest = guests.trainings()[:1]
        return len(guests.trainings()) > done and "epoch 1/2" in newest[0].message

    wait_until(learns, "the training is under way")
    assert len(processes("host.py", "Rectangles")) == 2
    number = str(guests.project.ls_id)
    assert "training of its guest models" in guests.command("cancel", "--project", number)
    wait_until(lambda: "cancelled" in {job.state for job in guests.trainings()}, "it is cancelled")
    wait_until(lambda: len(processes("host.py", "Rectangles")) == 1, "its process is gone")
    told = json.loads(guests.command("cancel", "--project", number, "--json"))
    assert told["cancelled"] == []
