"""Outages and kill -9, of each process in turn and of all at once: nothing is lost.

These run after the loop's own tests, in the same session: its labels only grow.
"""

import contextlib
import signal

import psutil
import pytest

from backend.demo.run import DemoSession
from backend.doctor.readiness import not_ready
from tests.support.e2e import doubled_predictions, processes, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

VICTIMS = {
    "web": ("backend.cli", "serve"),
    "inference": ("backend.cli", "inference"),
    "sync": ("backend.cli", "worker", "sync"),
    "embed": ("backend.cli", "worker", "embed"),
    "learn": ("backend.cli", "worker", "learn"),
    "publish": ("backend.cli", "worker", "publish"),
    "broker": ("valkey-server",),
}


def kill(found: list[psutil.Process]) -> None:
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_comes_back_and_the_loop_goes_on(
    session: DemoSession, victim: str
) -> None:
    found = processes(*VICTIMS[victim])
    assert found, f"no {victim} process runs"
    before = session.labels
    session.label(3)
    kill(found)
    session.label(3)
    wait_until(lambda: not not_ready(session.settings), f"{victim} is up again")
    wait_until(lambda: session.labels == before + 6, "every label is known")
    session.wait_until_learned(session.labels)
    assert doubled_predictions(session) == {}


def test_everything_killed_at_once_comes_back(session: DemoSession) -> None:
    before = session.labels
    session.label(3)
    ours = processes("backend.cli") + processes("valkey-server")
    kill(ours)
    psutil.wait_procs(ours, timeout=10)
    session.restart_apprentice()
    session.label(3)
    wait_until(lambda: session.labels == before + 6, "every label is known")
    session.wait_until_learned(session.labels)
    assert doubled_predictions(session) == {}


def test_while_label_studio_is_down_nothing_is_lost(session: DemoSession) -> None:
    session.label_studio.stop()
    session.label_studio.start()
    before = session.labels
    session.label(5)
    wait_until(lambda: session.labels == before + 5, "labels made after the outage arrived")
    session.wait_until_learned(session.labels)
