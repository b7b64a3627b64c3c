"""What the end-to-end tests ask again and again."""

import time
from collections import Counter
from collections.abc import Callable

import psutil

from backend.demo.run import DemoSession
from services.connections.original_settings import is_our_version
from store.predictions.shortlists import get_shortlist


def wait_until(done: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    """Ask until it is so; fail with `what` when it takes too long."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def shortlist(session: DemoSession) -> list[int]:
    """The tasks that are to be labelled next, in order."""
    with session.store.database.read() as db:
        return get_shortlist(db, session.project.id)


def shown_version(session: DemoSession) -> str:
    """The version that Label Studio hands tasks out by."""
    return session.studio.get_project(session.project.ls_id).model_version


def doubled_predictions(session: DemoSession) -> dict[tuple[int, str], int]:
    """(task, version) pairs of which Label Studio holds more than one prediction of ours."""
    held = session.studio.predictions(project=session.project.ls_id)
    counts = Counter((p.task, p.model_version) for p in held if is_our_version(p.model_version))
    return {pair: count for pair, count in counts.items() if count > 1}


def processes(*words: str) -> list[psutil.Process]:
    """The processes below this one whose command line holds all of the words."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if all(word in line for word in words):
            found.append(process)
    return found
