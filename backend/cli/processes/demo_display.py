"""The demo's progress in the terminal: URLs, a live line, and a summary."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.live import Live
from rich.text import Text

from backend.demo.accuracy import RestAccuracy
from backend.demo.annotator import Labelled
from backend.demo.run import DemoError, DemoSession
from backend.demo.saving import MOST

PACE_SECONDS = 1.0  # between two labels: slow enough to be watched
REFRESH_SECONDS = 2.0
LINE_EVERY = 10  # labels, where no terminal shows a live line


def show_urls(console: Console, session: DemoSession, by_hand: bool) -> None:
    """Print where Label Studio and Apprentice are, and how to sign in."""
    studio = session.label_studio
    project = f"{studio.url}/projects/{session.project.ls_id}/data"
    console.print(f"\nLabel Studio: {project}", markup=False)
    console.print(f"  sign in as {studio.email}, password {studio.password}", markup=False)
    console.print(f"Apprentice:   {session.settings.url}", markup=False)
    if by_hand:
        console.print('Press "Label All Tasks" there and label. Ctrl-C here stops everything.\n')
    else:
        console.print("A scripted annotator labels what Label Studio hands out.\n")


class DemoDisplay:
    """A live line of the demo's progress, and a summary at the end."""

    def __init__(self, console: Console, session: DemoSession) -> None:
        self._console = console
        self._session = session
        self._first: RestAccuracy | None = None
        self._last: RestAccuracy | None = None
        self._right = 0
        self._shown = 0
        self._labels = 0
        self._updated_at = 0.0
        self._line = Text()

    def run(self, labels: int, *, by_hand: bool) -> None:
        """Show the progress. Returns after the summary where standard input is no terminal."""
        if not by_hand:
            with self._live_line():
                done = self._session.label(labels, pace=PACE_SECONDS, after=self._count)
                if not done:
                    raise DemoError("Label Studio handed out no task")
                self._session.wait_until_learned(len(done))
                self._update(len(done), force=True)
            self._summary(len(done))
            if not sys.stdin.isatty():
                return
            self._console.print("\nLook around, and label on. Ctrl-C stops everything.")
        with self._live_line():
            self._watch()

    @contextmanager
    def _live_line(self) -> Iterator[None]:
        with Live(console=self._console, auto_refresh=False) as self._live:
            yield

    def _watch(self) -> NoReturn:
        while True:
            self._update(self._session.labels, force=True)
            self._session.check()
            time.sleep(REFRESH_SECONDS)

    def _count(self, labelled: Labelled) -> None:
        if labelled.suggested is not None:
            self._shown += 1
            self._right += labelled.suggested == labelled.label
        self._labels += 1
        self._update(self._labels)

    def _update(self, labels: int, *, force: bool = False) -> None:
        if force or time.monotonic() - self._updated_at > REFRESH_SECONDS:
            self._updated_at = time.monotonic()
            self._last = self._session.accuracy()
            self._first = self._first or self._last
        served = self._session.served
        line = Text(f"{labels:3} labels, ", no_wrap=True)
        line.append(served.name if served else "nothing served", style="cyan")
        if self._last is None:
            line.append(", no suggestion yet")
        else:
            line.append(": ")
            line.append(f"{self._last.value:.1%}", style="bold green")
            line.append(f" right on the other {self._last.total}")
        if self._shown:
            line.append(f"; {self._right} of {self._shown} shown were right")
        if self._console.is_terminal:
            self._live.update(line, refresh=True)
        elif (force or labels % LINE_EVERY == 0) and line != self._line:
            self._console.print(line)
        self._line = line

    def _summary(self, labels: int) -> None:
        if self._first is None or self._last is None:
            raise DemoError("no suggestion was ever served")
        self._console.print(
            f"\nAfter {labels} labels, {self._last.value:.1%} of the suggestions for the other "
            f"{self._last.total} images are right; {self._first.value:.1%} were with the first "
            f"version ({self._first.version}, now {self._last.version})."
        )
        right = len(self._last.right)
        with self._console.status("asking what random images would have taught"):
            needed = self._session.labels_at_random(labels, self._last.total - right)
        self._console.print(
            f"Saved: {_of_random(labels, needed)} (simulated on the same images), and {right} "
            "images needn't be labelled by hand."
        )


def _of_random(labels: int, needed: int | None) -> str:
    if needed is None:
        return f"{MOST:g} times as many labels of random images would have left more wrong"
    if needed > labels:
        return f"with random images it would have taken {needed} labels to leave as few wrong"
    return "random images would have taught as much"
