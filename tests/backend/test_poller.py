"""Polling a scripted Label Studio that webhooks don't reach us from."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event

import pytest

from backend.poller import ChangePoller
from services.connections.reach import REACH, RECHECK, Reach
from services.publishing.rate_limit import BUCKET
from services.sync.watched import ONLY_CHANGES
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import change_project, save_project
from store.work import pending_work
from store.work.work_kind import WorkKind
from tests.support.scripted_studio import LEGACY_TOKEN, ScriptedServer, json_reply
from tests.support.workbench import Workbench, label_config

COUNTS, TASKS = "/api/projects/counts/", "/api/tasks/"
SETTINGS = "/api/projects/"
CREATED = "1970-01-01T00:16:40Z"  # second 1,000, when the workbench's project was made
OUTBOUND = Reach(backend="refused", webhook="refused", checked_at=8e9)  # in 2223: no recheck


@dataclass
class Leader:
    """A scheduler that leads; `woken` is set when it was woken."""

    leads: bool = True
    woken: Event = field(default_factory=Event)

    def wake(self) -> None:
        self.woken.set()


@pytest.fixture
def server(workbench: Workbench) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        hold(server, 3)

        def connect(db):
            save_connection(db, DEFAULT, server.url, LEGACY_TOKEN)
            change_project(db, workbench.project_id, connected_at=1.0)
            REACH.of(workbench.project_id).set(db, OUTBOUND)

        workbench.store.database.write(connect)
        yield server


@pytest.fixture
def poll(workbench: Workbench) -> Iterator[Callable[[Leader], Leader]]:
    """Starts polling under a scheduler."""
    started: list[ChangePoller] = []
    workbench.store.settings.poll_seconds = workbench.store.settings.poll_idle_seconds = 0.05

    def start(leader: Leader) -> Leader:
        poller = ChangePoller(workbench.store, leader)  # type: ignore[arg-type]
        poller.start()
        started.append(poller)
        return leader

    yield start
    for poller in started:
        poller.stop()


def hold(server: ScriptedServer, annotations: int, **settings: str) -> None:
    """Have the server hold a project of 10 tasks with that many annotations, and with settings."""
    counts = {"id": 1, "task_number": 10, "total_annotations_number": annotations}
    latest = {"id": 1, "updated_at": f"2026-01-01T00:00:{annotations:02}Z"}
    server.on(COUNTS, json_reply({"results": [counts]}))
    server.on(SETTINGS, json_reply({"results": [{"id": 1, "created_at": CREATED} | settings]}))
    server.on(TASKS, json_reply({"total": 10, "total_annotations": annotations, "tasks": [latest]}))


def wanted(bench: Workbench) -> int:
    with bench.store.database.read() as db:
        work = pending_work.get_work(db, bench.project_id, WorkKind.SYNC)
    return work.wanted if work else 0


def asked(server: ScriptedServer) -> int:
    return len(server.asked(COUNTS)) + len(server.asked(TASKS))


def wait_for(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_change_is_noticed_and_its_sync_requested_once(
    workbench: Workbench, server: ScriptedServer, poll: Callable[[Leader], Leader]
) -> None:
    read = datetime(2026, 1, 1, 0, 0, 4, tzinfo=UTC).timestamp()  # a sync is quick
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, tasks_cursor=read)
    )
    leader = poll(Leader())
    wait_for(lambda: wanted(workbench) == 1, "the first look requests a sync")
    before = asked(server)
    wait_for(lambda: asked(server) > before + 5, "it goes on looking")
    assert wanted(workbench) == 1
    leader.woken.clear()
    hold(server, 4)
    assert leader.woken.wait(30)
    before = asked(server)
    wait_for(lambda: asked(server) > before + 5, "it goes on looking")
    assert wanted(workbench) == 2
    with workbench.store.database.read() as db:
        assert BUCKET.of(workbench.project_id).get(db) is not None  # publishing pays for it


def test_after_an_outage_everything_is_tried_and_checked_again(
    workbench: Workbench, server: ScriptedServer, poll: Callable[[Leader], Leader]
) -> None:
    poll(Leader())
    wait_for(lambda: wanted(workbench) == 1, "the first look requests a sync")
    for path in (COUNTS, TASKS, SETTINGS):
        server.on(path, json_reply({}, 502))
    before = asked(server)
    wait_for(lambda: asked(server) > before, "it is asked while it is away")

    def fail(db):
        for _ in range(5):
            pending_work.fail(db, workbench.project_id, WorkKind.SYNC, "502")

    workbench.store.database.write(fail)
    hold(server, 3)

    def is_tried() -> bool:
        with workbench.store.database.read() as db:
            work = pending_work.get_work(db, workbench.project_id, WorkKind.SYNC)
            is_checked = RECHECK.of(workbench.project_id).get(db) is not None
        return is_checked and work is not None and work.failures == 0 and work.not_before == 0.0

    wait_for(is_tried, "the failed work is tried at once, and the mode checked")


def is_whole(bench: Workbench) -> bool:
    """Whether the sync that is wanted has to read everything."""
    with bench.store.database.read() as db:
        work = pending_work.get_work(db, bench.project_id, WorkKind.SYNC)
        asked = ONLY_CHANGES.of(bench.project_id).get(db)
    return work is not None and work.wanted != asked


@pytest.mark.parametrize(
    "changed", [{"label_config": label_config(("cat", "owl"))}, {"title": "Birds"}]
)
def test_changed_settings_lead_to_a_whole_sync_and_nothing_else_does(
    workbench: Workbench,
    server: ScriptedServer,
    poll: Callable[[Leader], Leader],
    changed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workbench.store.settings.reconcile_seconds = 0.1
    monkeypatch.setattr("services.sync.settings_watch.SHARE", 1.0)
    poll(Leader())
    wait_for(lambda: wanted(workbench) == 1, "the first look requests a sync")
    before = len(server.asked(SETTINGS))
    wait_for(lambda: len(server.asked(SETTINGS)) > before + 2, "it goes on looking")
    hold(server, 4)
    wait_for(lambda: wanted(workbench) > 1, "a label requests one, too")
    assert not is_whole(workbench)
    hold(server, 4, **changed)
    wait_for(lambda: is_whole(workbench), "the changed settings request a whole sync")


@pytest.mark.parametrize("why", ["inbound", "another leads", "disconnected", "not registered"])
def test_nothing_is_asked_where_nothing_is_to_be_polled(
    workbench: Workbench, server: ScriptedServer, poll: Callable[[Leader], Leader], why: str
) -> None:
    def change(db):
        if why == "inbound":
            REACH.of(workbench.project_id).set(db, Reach(checked_at=8e9))
        if why == "disconnected":
            change_project(db, workbench.project_id, gone_at=1.0)
        if why == "not registered":
            change_project(db, workbench.project_id, connected_at=None)

    workbench.store.database.write(change)
    poller = ChangePoller(workbench.store, Leader(leads=why != "another leads"))  # type: ignore[arg-type]
    poller._read_projects()
    assert poller._servers == {}
    poller.start()
    poller.stop()
    assert server.requests == []


def test_a_connection_without_a_usable_token_stops_no_other(
    workbench: Workbench, server: ScriptedServer, poll: Callable[[Leader], Leader]
) -> None:
    def connect(db):
        save_connection(db, "broken", server.url, "two words")
        other = save_project(db, "broken", 7, 1_000)
        change_project(db, other.id, connected_at=1.0)
        REACH.of(other.id).set(db, OUTBOUND)

    workbench.store.database.write(connect)
    poll(Leader())
    wait_for(lambda: wanted(workbench) == 1, "the other project is polled")


def test_a_lost_test_event_is_checked_at_once(
    workbench: Workbench, server: ScriptedServer, poll: Callable[[Leader], Leader]
) -> None:
    lost = Reach(probe_at=time.time() - 60, checked_at=8e9)
    workbench.store.database.write(lambda db: REACH.of(workbench.project_id).set(db, lost))
    poll(Leader())

    def is_asked_for() -> bool:
        with workbench.store.database.read() as db:
            return RECHECK.of(workbench.project_id).get(db) is not None

    wait_for(is_asked_for, "a check is requested")
    wait_for(lambda: asked(server) > 0, "and changes are polled meanwhile")
