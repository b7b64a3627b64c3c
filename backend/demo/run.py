"""The demo: Label Studio, a sample project, Apprentice and a scripted annotator.

`apprentice demo` shows it to people, the end-to-end test asserts on it.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from backend.demo.accuracy import RestAccuracy, rest_accuracy
from backend.demo.annotator import Annotator, Labelled
from backend.demo.dataset import SampleSet
from backend.demo.digits import DIGITS
from backend.demo.label_studio import LabelStudioServer, create_image_project
from backend.demo.process import ApprenticeProcess, free_port, tail
from backend.demo.saving import labels_at_random
from backend.doctor.readiness import not_ready
from services.connections.connect import connect
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import Project, get_project
from store.store import Store
from store.tasks.annotations import annotated_tasks
from store.versions.versions import Version, get_version, newest_version
from studio.records.projects import ProjectInfo

IMAGES = 400
READY_SECONDS = 300.0  # for Apprentice; its first start exports the backbone
FIRST_ORDER_SECONDS = 180.0  # until the first tasks are chosen
LEARN_SECONDS = 60.0  # until the last labels are learned from
POLL_SECONDS = 0.2


class DemoError(Exception):
    """The demo failed; the message says what to look at."""


class DemoSession:
    """Runs the demo; a context manager that starts and stops it, from the main thread.

    Args:
        home: everything is kept here, and used again by the next demo.
        environment: the virtual environment with Label Studio.
        dataset: the images of the sample project.
        images: how many there are in it.
        ports: Label Studio's and Apprentice's; another one is taken where they aren't free.
        stock: have Label Studio's address guards on: it then can't call Apprentice.
        keep_project: go on with the project of the last demo, if there was one.
        settings: more of Apprentice's environment variables.
        tell: is given a line for each step.
    """

    def __init__(
        self,
        home: Path,
        environment: Path,
        *,
        dataset: SampleSet = DIGITS,
        images: int = IMAGES,
        ports: tuple[int, int] = (0, 0),
        stock: bool = False,
        keep_project: bool = False,
        settings: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.home = home.absolute()
        self._dataset = dataset
        self._samples = dataset.load(images)
        self.truth = {sample.name: sample.label for sample in self._samples}
        self._keep_project = keep_project
        self._tell = tell
        self.label_studio = LabelStudioServer(
            self.home / "label-studio", environment, port=free_port(ports[0]), stock=stock
        )
        self.log = self.home / "apprentice.log"
        self._apprentice = ApprenticeProcess(
            self.home / "apprentice", free_port(ports[1]), self.log, settings or {}
        )
        self.settings = self._apprentice.settings
        self._open = contextlib.ExitStack()

    # Starting and stopping

    def start(self) -> None:
        """Start everything and connect it; ready when the first tasks are chosen.

        Raises:
            DemoError, LabelStudioError, ConnectingError: what doesn't work.
        """
        try:
            self._tell("starting Apprentice and Label Studio (the first start takes a minute)")
            self._apprentice.start()
            self.label_studio.start()
            self.studio = self._open.enter_context(self.label_studio.client())
            info = self._make_project()
            self._wait(READY_SECONDS, "Apprentice is ready", lambda: not not_ready(self.settings))
            self.store = Store.open(self.settings)
            self._open.callback(self.store.close)
            self._tell("connecting the project")
            self._connect(info)
            self._wait(
                FIRST_ORDER_SECONDS,
                "the first tasks are chosen",
                lambda: self.project.served_version_id is not None,
            )
            self.annotator = Annotator(self.studio, info.id, self.truth)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything; no process is left. What was made stays in the home folder."""
        self._open.close()
        self._apprentice.stop()
        self.label_studio.stop()

    def stop_apprentice(self) -> None:
        """Stop Apprentice alone, by SIGTERM."""
        self._apprentice.stop()

    def restart_apprentice(self) -> None:
        """Start Apprentice anew after it was stopped or killed.

        Raises:
            DemoError: it doesn't come up.
        """
        self._apprentice.stop()
        self._apprentice.start()
        self._wait(READY_SECONDS, "Apprentice is ready", lambda: not not_ready(self.settings))

    def __enter__(self) -> "DemoSession":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # The demo itself

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which `apprentice` commands find this Apprentice."""
        return self._apprentice.environment

    @property
    def project(self) -> Project:
        """The project, read from the store."""
        with self.store.database.read() as db:
            project = get_project(db, self._project_id)
        assert project is not None, "it was connected"
        return project

    @property
    def served(self) -> Version | None:
        """The version whose suggestions are shown."""
        served = self.project.served_version_id
        with self.store.database.read() as db:
            return get_version(db, served or 0)

    @property
    def labels(self) -> int:
        """How many tasks are labelled, as far as Apprentice knows."""
        with self.store.database.read() as db:
            return len(annotated_tasks(db, self._project_id))

    def label(
        self, count: int, *, pace: float = 0.0, after: Callable[[Labelled], None] | None = None
    ) -> list[Labelled]:
        """Have the scripted annotator label the next `count` tasks, or all that are left.

        Args:
            pace: least seconds from one label to the next.
            after: is called with each.
        """
        done: list[Labelled] = []
        for _ in range(count):
            began = time.monotonic()
            labelled = self.annotator.label_next()
            if labelled is None:
                break
            done.append(labelled)
            if after is not None:
                after(labelled)
            self.check()
            time.sleep(max(began + pace - time.monotonic(), 0.0))
        return done

    def wait_until_learned(self, labels: int) -> None:
        """Wait until a version of that many labels is published or refused.

        Raises:
            DemoError: it took too long.
        """

        def learned() -> bool:
            with self.store.database.read() as db:
                newest = newest_version(db, self._project_id)
            return newest is not None and newest.labels >= labels and newest.status != "candidate"

        self._wait(LEARN_SECONDS, f"{labels} labels are learned from", learned)

    def accuracy(self) -> RestAccuracy | None:
        """The accuracy of served suggestions on unlabelled images."""
        return rest_accuracy(self.store, self.project, self.truth)

    def labels_at_random(self, labels: int, wrong: int) -> int | None:
        """How many labels of random images leave as few suggested wrong; None: too many."""
        return labels_at_random(self.store, self.project, self.truth, labels, wrong)

    def check(self) -> None:
        """Raise DemoError when Label Studio or Apprentice has ended."""
        if not self._apprentice.running:
            raise DemoError(f"Apprentice has ended; the end of {self.log}:\n{tail(self.log)}")
        if not self.label_studio.running and self.label_studio_started:
            log = self.label_studio.log
            raise DemoError(f"Label Studio has ended; the end of {log}:\n{tail(log)}")

    @property
    def label_studio_started(self) -> bool:
        """Whether Label Studio has answered once."""
        return hasattr(self, "studio")

    # Parts of the start

    def _make_project(self) -> ProjectInfo:
        title = self._dataset.title
        if self._keep_project:
            known = [info for info in self.studio.projects() if info.title == title and info.tasks]
            if known:
                self._tell("going on with the last demo's project")
                return max(known, key=lambda info: info.id)
        self._tell(f"making a project of {len(self._samples)} images")
        images = ((sample.name, sample.content) for sample in self._samples)
        info, tasks = create_image_project(self.studio, title, self._dataset.label_config, images)
        if len(tasks) != len(self._samples):
            raise DemoError(f"Label Studio took {len(tasks)} of {len(self._samples)} images")
        return info

    def _connect(self, info: ProjectInfo) -> None:
        url, token = self.label_studio.url, self.label_studio.token
        self.store.database.write(lambda db: save_connection(db, DEFAULT, url, token))
        project = connect(
            self.store, self.studio, DEFAULT, info.id, self.settings.url, tell=lambda line: None
        )
        self._project_id = project.id

    def _wait(self, seconds: float, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"waited {seconds:.0f} s in vain until {what}; the end of {self.log}:\n"
                    f"{tail(self.log)}"
                )
            time.sleep(POLL_SECONDS)
