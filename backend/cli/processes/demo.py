"""`apprentice demo`."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.live import Live
from rich.text import Text

from backend.cli.common import CommandError
from backend.demo.annotator import Labelled
from backend.demo.dataset import DatasetMissingError
from backend.demo.label_studio import LabelStudioError
from backend.demo.measuring import RestAccuracy
from backend.demo.run import DemoError, DemoSession
from backend.demo.sign_in import SignInError
from studio.errors import StudioError

PORTS = (8080, 9090)  # Label Studio's and Apprentice's, when they are free
LABELS = 60
PACE_SECONDS = 1.0  # between two labels: slow enough to be watched
REFRESH_SECONDS = 2.0
LINE_EVERY = 10  # labels, where no terminal shows a live line
KNOWN_FAULTS = (DemoError, LabelStudioError, DatasetMissingError, SignInError, StudioError)


def run() -> None:
    """Run the demo: by hand until Ctrl-C, or with the scripted annotator and then a summary."""
    by_hand = os.environ.get("BY_HAND", "") not in {"", "0"}
    labels = _labels()
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        session = DemoSession(
            _home(),
            _label_studio(),
            ports=PORTS,
            keep_project=by_hand,
            tell=lambda line: console.print(line),
        )
        with session:
            _show_urls(console, session, by_hand)
            _Show(console, session).run(labels, by_hand=by_hand)
    except KNOWN_FAULTS as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        console.print("stopped; what was made is kept in", _home(), markup=False)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _home() -> Path:
    return Path(os.environ.get("APPRENTICE_HOME") or ".apprentice/demo").expanduser()


def _label_studio() -> Path:
    """The environment with Label Studio: named, or beside the project, or here."""
    named = os.environ.get("APPRENTICE_LABEL_STUDIO")
    if named:
        return Path(named).expanduser()
    beside = Path(__file__).resolve().parents[3] / ".venv-label-studio"
    return beside if beside.exists() else Path(".venv-label-studio")


def _labels() -> int:
    given = os.environ.get("APPRENTICE_DEMO_LABELS") or str(LABELS)
    if not given.isdecimal() or not int(given):
        raise CommandError(f"APPRENTICE_DEMO_LABELS must be a number of labels, not {given!r}")
    return int(given)


def _show_urls(console: Console, session: DemoSession, by_hand: bool) -> None:
    studio = session.label_studio
    project = f"{studio.url}/projects/{session.project.ls_id}/data"
    console.print(f"\nLabel Studio: {project}", markup=False)
    console.print(f"  sign in as {studio.email}, password {studio.password}", markup=False)
    console.print(f"Apprentice:   {session.settings.url}", markup=False)
    if by_hand:
        console.print('Press "Label All Tasks" there and label. Ctrl-C here stops everything.\n')
    else:
        console.print("A scripted annotator labels what Label Studio hands out.\n")


class _Show:
    """The live line, and what is said at the end."""

    def __init__(self, console: Console, session: DemoSession) -> None:
        self.console = console
        self.session = session
        self.first: RestAccuracy | None = None
        self.last: RestAccuracy | None = None
        self.kept = 0
        self.shown = 0
        self.labels = 0
        self._looked = 0.0
        self._line = Text()

    def run(self, labels: int, *, by_hand: bool) -> None:
        """Show what happens. Comes back after the summary, where nobody is there to look on."""
        if not by_hand:
            with self._live():
                done = self.session.label(labels, pace=PACE_SECONDS, after=self._after)
                if not done:
                    raise DemoError("Label Studio handed out no task")
                self.session.settle(len(done))
                self._look(len(done), force=True)
            self._summary(len(done))
            if not sys.stdin.isatty():
                return
            self.console.print("\nLook around, and label on. Ctrl-C stops everything.")
        with self._live():
            self._watch()

    @contextmanager
    def _live(self) -> Iterator[None]:
        with Live(console=self.console, auto_refresh=False) as self.live:
            yield

    def _watch(self) -> NoReturn:
        while True:
            self._look(self.session.labels, force=True)
            self.session.check()
            time.sleep(REFRESH_SECONDS)

    def _after(self, labelled: Labelled) -> None:
        if labelled.suggested is not None:
            self.shown += 1
            self.kept += labelled.suggested == labelled.label
        self.labels += 1
        self._look(self.labels)

    def _look(self, labels: int, *, force: bool = False) -> None:
        if force or time.monotonic() - self._looked > REFRESH_SECONDS:
            self._looked = time.monotonic()
            self.last = self.session.accuracy()
            self.first = self.first or self.last
        served = self.session.served
        line = Text(f"{labels:3} labels, ", no_wrap=True)
        line.append(served.name if served else "nothing served", style="cyan")
        if self.last is None:
            line.append(", no suggestion yet")
        else:
            line.append(": ")
            line.append(f"{self.last.value:.1%}", style="bold green")
            line.append(f" right on the other {self.last.total}")
        if self.shown:
            line.append(f"; {self.kept} of {self.shown} shown were right")
        if self.console.is_terminal:
            self.live.update(line, refresh=True)
        elif (force or labels % LINE_EVERY == 0) and line != self._line:
            self.console.print(line)
        self._line = line

    def _summary(self, labels: int) -> None:
        if self.first is None or self.last is None:
            raise DemoError("no suggestion was ever served")
        self.console.print(
            f"\nAfter {labels} labels, {self.last.value:.1%} of the suggestions for the other "
            f"{self.last.total} images are right; {self.first.value:.1%} were with the first "
            f"version ({self.first.version}, now {self.last.version})."
        )
