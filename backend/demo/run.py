"""The whole demo as one object: Label Studio, a sample project, Apprentice, and an annotator.

`apprentice demo` shows it to people, the end-to-end test asserts on it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from backend.demo.annotator import Annotator, Labelled
from backend.demo.dataset import LABEL_CONFIG, load_samples
from backend.demo.label_studio import HOST, LabelStudioServer, create_image_project
from backend.demo.measuring import RestAccuracy, rest_accuracy
from backend.readiness import not_ready
from store.annotations import annotated_tasks
from store.connections import DEFAULT, save_connection
from store.projects import Project, get_project
from store.settings import Settings
from store.store import Store
from store.versions import Version, get_version, newest_version
from studio.records import ProjectInfo
from worker.connecting import connect
from worker.tether import Lifeline

TITLE = "Textile defects"
IMAGES = 400
READY_SECONDS = 300.0  # for Apprentice; its first start exports the backbone
FIRST_ORDER_SECONDS = 180.0  # until the first tasks are chosen
SETTLE_SECONDS = 60.0  # until the last labels are learned from
POLL_SECONDS = 0.2
STOP_SECONDS = 20.0
LOG_TAIL = 2000  # characters

# What the demo must not take from the environment: it has its own of all this.
OWN = frozenset(
    f"APPRENTICE_{name}"
    for name in ("HOME", "HOST", "PORT", "PUBLIC_URL", "REDIS_URL", "DATABASE_URL", "STORAGE_URL")
) | {"LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS"}


class DemoError(Exception):
    """The demo doesn't work; the message says what and where to look."""


class DemoSession:
    """A demo that runs; a context manager that starts and stops it, from the main thread.

    Args:
        home: everything is kept here, and used again by the next demo.
        environment: the virtual environment with Label Studio.
        images: how many there are in the sample project.
        ports: Label Studio's and Apprentice's; another one is taken where they aren't free.
        keep_project: go on with the project of the last demo, if there was one.
        settings: more of Apprentice's environment variables.
        tell: is given a line for each step.
    """

    def __init__(
        self,
        home: Path,
        environment: Path,
        *,
        images: int = IMAGES,
        ports: tuple[int, int] = (0, 0),
        keep_project: bool = False,
        settings: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.home = home.absolute()
        self._samples = load_samples(images)
        self.truth = {sample.name: sample.label for sample in self._samples}
        self._keep_project = keep_project
        self._more = dict(settings or {})
        self._tell = tell
        self.label_studio = LabelStudioServer(
            self.home / "label-studio", environment, port=free_port(ports[0])
        )
        self.settings = self._own_settings(free_port(ports[1]))
        self.log = self.home / "apprentice.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: Lifeline | None = None
        self._open = contextlib.ExitStack()

    # Starting and stopping

    def start(self) -> None:
        """Start everything and connect it; ready when the first tasks are chosen.

        Raises:
            DemoError, LabelStudioError, ConnectingError: what doesn't work.
        """
        try:
            self._tell("starting Apprentice and Label Studio (the first start takes a minute)")
            self._start_apprentice()
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
        self._stop_apprentice()
        self.label_studio.stop()

    def _stop_apprentice(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()  # what it started dies with it
            process.wait()
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None

    def restart_apprentice(self) -> None:
        """Start Apprentice anew after it was killed.

        Raises:
            DemoError: it doesn't come up.
        """
        self._stop_apprentice()
        self._start_apprentice()
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
    def project(self) -> Project:
        """The project as it stands in the store."""
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

    def settle(self, labels: int) -> None:
        """Wait until that many labels are learned from and what came of it is decided.

        Raises:
            DemoError: it took too long.
        """

        def learned() -> bool:
            with self.store.database.read() as db:
                newest = newest_version(db, self._project_id)
            return newest is not None and newest.labels >= labels and newest.status != "candidate"

        self._wait(SETTLE_SECONDS, f"{labels} labels are learned from", learned)

    def accuracy(self) -> RestAccuracy | None:
        """How good the served suggestions are on the images that are not labelled."""
        return rest_accuracy(self.store, self.project, self.truth)

    def check(self) -> None:
        """Raise DemoError when Label Studio or Apprentice has ended."""
        if self._process is None or self._process.poll() is not None:
            raise DemoError(f"Apprentice has ended; the end of {self.log}:\n{tail(self.log)}")
        if not self.label_studio.running and self.label_studio_started:
            log = self.label_studio.log
            raise DemoError(f"Label Studio has ended; the end of {log}:\n{tail(log)}")

    @property
    def label_studio_started(self) -> bool:
        """Whether it has ever answered."""
        return hasattr(self, "studio")

    # Parts of the start

    def _own_settings(self, port: int) -> Settings:
        return Settings(
            home=self.home / "apprentice",
            host=HOST,
            port=port,
            public_url=None,
            basic_auth_user=None,
            basic_auth_pass=None,
            label_studio_url=None,
            label_studio_api_key=None,
            redis_url=None,
            database_url=None,
            storage_url=None,
        )

    def _start_apprentice(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name not in OWN}
        environment |= {
            "APPRENTICE_HOME": str(self.settings.home),
            "APPRENTICE_PORT": str(self.settings.port),
            **self._more,
        }
        self._lifeline = Lifeline()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._lifeline.command([sys.executable, "-m", "backend.cli", "up"]),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._lifeline.pass_fds,
                start_new_session=True,
            )

    def _make_project(self) -> ProjectInfo:
        if self._keep_project:
            known = [info for info in self.studio.projects() if info.title == TITLE and info.tasks]
            if known:
                self._tell("going on with the last demo's project")
                return max(known, key=lambda info: info.id)
        self._tell(f"making a project of {len(self._samples)} images")
        images = ((sample.name, sample.path.read_bytes()) for sample in self._samples)
        info, tasks = create_image_project(self.studio, TITLE, LABEL_CONFIG, images)
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


def free_port(preferred: int) -> int:
    """The preferred port, or any other one that is free."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            found: int = probe.getsockname()[1]
            return found
    raise DemoError("no port is free")


def tail(log: Path) -> str:
    """The end of a log file."""
    with contextlib.suppress(FileNotFoundError):
        return log.read_text(errors="replace")[-LOG_TAIL:]
    return ""
