"""sync where changes are polled: what a job reads, against a server that answers queries."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from services.connections.reach import LAST_RECHECK_SECONDS, REACH, Reach
from services.sync.changed_tasks import NEWEST
from services.sync.poll_report import POLL_REPORT, PollReport
from services.sync.watched import (
    FRESH_SECONDS,
    WATCHED_FACTOR,
    request_changes,
    wants_only_changes,
    whole_sync_seconds,
)
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import change_project
from store.tasks.annotations import current_annotations
from store.work import pending_work
from store.work.jobs import add_job
from store.work.work_kind import WorkKind
from tests.support.scripted_studio import LEGACY_TOKEN, Reply, Request, ScriptedServer, json_reply
from tests.support.workbench import Workbench, label_config, region

PROJECT, TASKS = "/api/projects/1/", "/api/tasks/"
CREATED = "1970-01-01T00:16:40Z"  # second 1,000, when the workbench's project was made
BEGIN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
COUNT = 30


@dataclass
class Studio:
    """A Label Studio with one project of 30 tasks, which changed a minute apart."""

    server: ScriptedServer
    title: str = "Pets"
    config: str = field(default_factory=label_config)
    labels: dict[int, str] = field(default_factory=dict)  # {task: class}
    changed_at: dict[int, float] = field(
        default_factory=lambda: {task: BEGIN + 60.0 * task for task in range(1, COUNT + 1)}
    )

    def __post_init__(self) -> None:
        self.server.on(PROJECT, self._project)
        self.server.on(TASKS, self._tasks)

    def label(self, task: int, name: str) -> None:
        self.labels[task] = name
        self.changed_at[task] = max(self.changed_at.values()) + 60.0

    @property
    def asked(self) -> list[str]:
        return [urlsplit(request.path).path for request in self.server.requests]

    def _project(self, _: Request) -> Reply:
        info = {"id": 1, "created_at": CREATED, "title": self.title, "label_config": self.config}
        return json_reply(info | {"task_number": COUNT})

    def _tasks(self, request: Request) -> Reply:
        asked = dict(parse_qsl(urlsplit(request.path).query))
        query = json.loads(asked.get("query", "{}"))
        found = sorted(self.changed_at)
        if query.get("ordering") == ["-tasks:updated_at"]:
            found.sort(key=lambda task: -self.changed_at[task])
        for item in query.get("filters", {}).get("items", []):
            if item["type"] == "Datetime":
                since = datetime.fromisoformat(item["value"]).timestamp()
                found = [task for task in found if self.changed_at[task] > since]
            else:
                found = [task for task in found if task > item["value"]]
        page = found[: int(asked["page_size"])]
        answer = {"total": len(found), "total_annotations": len(self.labels)}
        return json_reply(answer | {"tasks": [self._task(task) for task in page]})

    def _task(self, task: int) -> dict[str, Any]:
        at = datetime.fromtimestamp(self.changed_at[task], UTC).isoformat()
        annotation = {"id": 100 + task, "task": task, "created_at": at, "updated_at": at}
        annotations = [
            annotation | {"result": [region("kind", "choices", [name])]}
            for labelled, name in self.labels.items()
            if labelled == task
        ]
        data = {"image": f"/{task}"}
        return {"id": task, "data": data, "updated_at": at, "annotations": annotations}


@pytest.fixture
def studio(workbench: Workbench) -> Iterator[Studio]:
    """The project is polled, and was read as a whole a moment ago."""
    with ScriptedServer() as server:

        def connect(db):
            save_connection(db, DEFAULT, server.url, LEGACY_TOKEN)
            change_project(db, workbench.project_id, connected_at=1.0)
            refused = Reach(backend="refused", webhook="refused", checked_at=8e9)  # in 2223
            REACH.of(workbench.project_id).set(db, refused)

        workbench.store.database.write(connect)
        studio = Studio(server)
        workbench.run("sync")
        server.requests.clear()
        yield studio


def run_polled(bench: Workbench) -> None:
    """Run the sync that the poller requests."""

    def prepare(db):
        request_changes(db, bench.project_id)
        item = pending_work.get_work(db, bench.project_id, WorkKind.SYNC)
        assert item is not None
        generation = pending_work.next_generation(db, item)
        assert generation is not None
        add_job(db, bench.project_id, WorkKind.SYNC, generation)
        return generation

    bench.begin("sync", bench.store.database.write(prepare))


def labels(bench: Workbench) -> dict[int, str]:
    with bench.store.database.read() as db:
        rows = current_annotations(db, bench.project_id)
    return {row.task_ls_id: row.result[0]["value"]["choices"][0] for row in rows}


def test_a_label_is_read_by_one_request(workbench: Workbench, studio: Studio) -> None:
    studio.label(5, "cat")
    run_polled(workbench)
    assert labels(workbench) == {5: "cat"}
    assert studio.asked == [TASKS]
    studio.label(6, "dog")
    studio.label(5, "fox")  # an edit
    run_polled(workbench)
    assert labels(workbench) == {5: "fox", 6: "dog"}
    assert studio.asked == [TASKS] * 2


def test_more_changes_than_one_request_brings_are_all_read(
    workbench: Workbench, studio: Studio
) -> None:
    made = dict.fromkeys(range(1, 2 * NEWEST + 1), "cat")
    for task, name in made.items():
        studio.label(task, name)
    run_polled(workbench)
    assert labels(workbench) == made
    studio.server.requests.clear()
    run_polled(workbench)
    assert studio.asked == [TASKS], "and nothing is read again"


def test_a_sync_that_anybody_else_asks_for_sees_a_changed_label_config(
    workbench: Workbench, studio: Studio
) -> None:
    studio.config = label_config(("cat", "owl"))
    studio.title = "Birds"
    run_polled(workbench)
    assert workbench.project.label_config == label_config(), "it reads changed tasks alone"
    workbench.store.database.write(lambda db: request_changes(db, workbench.project_id))
    workbench.run("sync")  # beside the poller
    assert workbench.project.label_config == studio.config
    assert workbench.project.title == "Birds"


def test_a_changed_title_alone_is_taken_over(workbench: Workbench, studio: Studio) -> None:
    studio.title = "Birds"
    workbench.run("sync")
    assert workbench.project.title == "Birds"


def test_what_a_person_asked_for_is_not_lost_in_the_poller_s_requests(
    workbench: Workbench, studio: Studio
) -> None:
    sync, project_id = WorkKind.SYNC, workbench.project_id

    def only_changes(*requests: str) -> bool:
        def write(db):
            for who in requests:
                if who == "poller":
                    request_changes(db, project_id)
                else:
                    pending_work.want(db, project_id, sync)
            item = pending_work.get_work(db, project_id, sync)
            generation = item and pending_work.next_generation(db, item)
            lease = pending_work.begin(db, project_id, sync, generation or 0)
            found = wants_only_changes(db, lease)
            pending_work.finish(db, lease)
            return found

        return workbench.store.database.write(write)

    assert only_changes("poller")
    assert only_changes("poller", "poller")
    assert not only_changes("poller", "person")
    assert not only_changes("person", "poller", "poller")
    assert only_changes("poller")


def test_whole_syncs_are_rare_while_a_poller_watches(workbench: Workbench) -> None:
    settings, project_id = workbench.store.settings, workbench.project_id

    def seconds(reported: float | None) -> float:
        def write(db):
            if reported is not None:
                POLL_REPORT.of(project_id).set(db, PollReport(4.0, 0.003, reported))
            return whole_sync_seconds(db, project_id, settings, time.time())

        return workbench.store.database.write(write)

    assert seconds(None) == settings.reconcile_seconds
    assert seconds(time.time()) == WATCHED_FACTOR * settings.reconcile_seconds
    assert seconds(time.time() - FRESH_SECONDS - 1) == settings.reconcile_seconds


def test_whole_syncs_are_not_rare_while_a_check_of_the_mode_is_due(workbench: Workbench) -> None:
    store, project_id, now = workbench.store, workbench.project_id, time.time()

    def seconds(checked_at: float) -> float:
        def note(db):
            POLL_REPORT.of(project_id).set(db, PollReport(4.0, 0.003, now))
            reach = Reach(backend="refused", webhook="refused", checked_at=checked_at)
            REACH.of(project_id).set(db, reach)

        store.database.write(note)
        with store.database.read() as db:
            return whole_sync_seconds(db, project_id, store.settings, now)

    assert seconds(now) == WATCHED_FACTOR * store.settings.reconcile_seconds
    assert seconds(now - LAST_RECHECK_SECONDS) == store.settings.reconcile_seconds
