"""Proves that webhooks arrive, by a change of the project that changes nothing."""

import time
from dataclasses import replace

from services.connections.reach import HEARD, REACH, Connectivity, Reach, connectivity
from store.projects.projects import Project
from store.store import Store
from studio.client import StudioClient

WAIT_SECONDS = 2.0
LOOK_SECONDS = 0.05  # between two looks into the store
FRESH_SECONDS = 60.0  # an event that arrived since then is proof enough


def send_probe(store: Store, studio: StudioClient, project: Project, reach: Reach) -> Reach:
    """Cause a test event; return the reach with it.

    Raises:
        StudioError: Label Studio did not do it.
    """
    with store.database.read() as db:
        heard = HEARD.of(project.id).get(db)
    sent = replace(reach, probe_at=time.time(), probe_heard=heard.count if heard else 0)
    studio.touch_project(project.ls_id)
    return sent


def await_probe(store: Store, project_id: int, reach: Reach) -> Connectivity:
    """Wait until the test event has arrived, at most WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with store.database.read() as db:
            found = connectivity(reach, HEARD.of(project_id).get(db), time.time())
        if found.is_proven or time.monotonic() > deadline:
            return found
        time.sleep(LOOK_SECONDS)


def is_fresh(store: Store, project_id: int, reach: Reach | None) -> bool:
    """Whether an event has arrived so lately that no other is needed."""
    if reach is None or reach.webhook is not None:
        return False
    with store.database.read() as db:
        heard = HEARD.of(project_id).get(db)
    return (
        heard is not None
        and connectivity(reach, heard, time.time()).is_proven
        and time.time() - heard.at < FRESH_SECONDS
    )


def check_arrival(store: Store, studio: StudioClient, project: Project) -> None:
    """Cause a test event after changes that no webhook told; its loss changes the mode.

    Raises:
        StudioError: Label Studio did not do it.
    """
    now = time.time()
    with store.database.read() as db:
        reach = REACH.of(project.id).get(db)
        heard = HEARD.of(project.id).get(db)
    if reach is None or connectivity(reach, heard, now).webhook is not None:
        return
    if now - reach.probe_at < FRESH_SECONDS:
        return
    sent = send_probe(store, studio, project, replace(reach, rechecks=0))
    store.database.write(lambda db: REACH.of(project.id).set(db, sent))
