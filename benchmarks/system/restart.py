"""Measures the seconds from kill -9 of all processes to ready, and to a newer version."""

import contextlib
import time

import psutil

from backend.demo.run import DemoSession
from benchmarks.support.harness import Options, WaitedInVainError, at_rest, demo, newest, ours, wait
from benchmarks.support.report import Bar, Outcome

LABELS = 20
PATIENCE = 120.0  # seconds


def run(options: Options) -> Outcome:
    """Measure it, each start three times and the worst taken."""
    rounds = options.count(3, 1)
    with demo(options.count(400, 60)) as session:
        session.label(LABELS)
        session.wait_until_learned(LABELS)
        gentle = [_start(session, kill=False) for _ in range(rounds)]
        ready, going, lost = [], [], []
        for _ in range(rounds):
            session.label(2)  # work is under way when the blow comes
            ready.append(_start(session, kill=True))
            began = time.monotonic() - ready[-1]
            session.label(1)
            count = session.labels
            _learned(session, count)
            going.append(time.monotonic() - began)
            lost.append(_made_while_down(session))
    return Outcome(
        [
            Bar("kill -9 of everything, start → the loop goes on", "most", 15, max(going), "s"),
            Bar("a later start is ready", "most", 5, max(gentle), "s", "after a proper stop"),
        ],
        {
            "ready after a stop, s": _rounded(gentle),
            "ready after kill -9, s": _rounded(ready),
            "start to a version that knows a new label, s": _rounded(going),
            "ready to a label made while all was down known, s": _rounded(lost),
        },
    )


def _start(session: DemoSession, *, kill: bool) -> float:
    """Stop or kill everything, start it; the seconds until all answers."""
    if kill:
        _kill(session)
    else:
        wait(lambda: at_rest(session), "nothing is under way")
        session.stop_apprentice()
    began = time.monotonic()
    session.restart_apprentice()
    return time.monotonic() - began


def _kill(session: DemoSession) -> None:
    found = ours(session)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=10)


def _learned(session: DemoSession, labels: int) -> None:
    def done() -> bool:
        version = newest(session)
        return version is not None and version.labels >= labels and version.status != "candidate"

    wait(done, f"{labels} labels are learned from", PATIENCE)


def _made_while_down(session: DemoSession) -> float | None:
    """A label whose webhook nobody heard: seconds from ready until it is known."""
    before = session.labels
    _kill(session)
    session.annotator.label_next()
    session.restart_apprentice()
    try:
        return wait(lambda: session.labels > before, "the label is known", PATIENCE)
    except WaitedInVainError:
        return None


def _rounded(values: list[float | None] | list[float]) -> list[float | None]:
    return [None if value is None else round(value, 2) for value in values]
