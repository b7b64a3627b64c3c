"""Which projects have changed, asked of a scripted server."""

import json
import urllib.parse
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from services.sync.change_watch import MOST_NEW, MOST_PROJECTS, ChangeWatch
from services.sync.poll_pace import TURN
from studio.client import StudioClient
from studio.errors import StudioUnreachable
from tests.support.scripted_studio import (
    LEGACY_TOKEN,
    Reply,
    Request,
    ScriptedServer,
    json_reply,
)

COUNTS, TASKS = "/api/projects/counts/", "/api/tasks/"


class Projects:
    """Projects on a server: {id: [tasks, annotations, seconds of the latest change]}."""

    def __init__(self, server: ScriptedServer, count: int) -> None:
        self.held = {ls_id: [10, 0, 0] for ls_id in range(1, count + 1)}
        self.server = server
        server.on(COUNTS, self._counts)
        server.on(TASKS, self._tasks)

    def _counts(self, request: Request) -> Reply:
        ids = map(int, _query(request)["ids"].split(","))
        results: list[dict[str, Any]] = [
            {
                "id": ls_id,
                "task_number": self.held[ls_id][0],
                "total_annotations_number": self.held[ls_id][1],
                "skipped_annotations_number": 0,
            }
            for ls_id in ids
            if ls_id in self.held
        ]
        return json_reply({"count": len(results), "results": results})

    def _tasks(self, request: Request) -> Reply:
        query = _query(request)
        assert json.loads(query["query"]) == {"ordering": ["-tasks:updated_at"]}
        if int(query["project"]) not in self.held:
            return json_reply({"detail": "Not found."}, 404)
        tasks, annotations, second = self.held[int(query["project"])]
        latest = {"id": 1, "updated_at": f"2026-01-01T00:00:{second:02}Z"}
        return json_reply({"total": tasks, "total_annotations": annotations, "tasks": [latest]})


def unread(projects: Iterable[int]) -> dict[int, float | None]:
    return dict.fromkeys(projects)


@dataclass
class Poller:
    """Asks the watch; each fourth time is a close look."""

    watch: ChangeWatch
    round: int = 0

    def ask(self, projects: dict[int, float | None], active: Collection[int]) -> set[int]:
        self.round += 1
        return self.watch.ask(projects, active, closely=self.round % TURN == 0)


def _query(request: Request) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.path).query))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def watch(server: ScriptedServer) -> Iterator[Poller]:
    with StudioClient(server.url, LEGACY_TOKEN) as client:
        yield Poller(ChangeWatch(client))


def test_one_request_tells_of_all_idle_projects(server: ScriptedServer, watch: Poller) -> None:
    projects = Projects(server, 5)
    assert watch.ask(unread(projects.held), ()) == set(projects.held)
    server.requests.clear()
    assert watch.ask(unread(projects.held), ()) == set()
    projects.held[2][1] += 1  # a label
    projects.held[4][0] -= 1  # a deleted task
    del projects.held[5]
    assert watch.ask(unread(range(1, 6)), ()) == {2, 4, 5}
    assert [request.path.split("?")[0] for request in server.requests] == [COUNTS] * 2


def test_an_edit_which_changes_no_count_is_seen_in_turn(
    server: ScriptedServer, watch: Poller
) -> None:
    projects = Projects(server, 2)
    for _ in range(2 * TURN):
        watch.ask(unread(projects.held), ())
    projects.held[2][2] = 30
    seen = [watch.ask(unread(projects.held), ()) for _ in range(2 * TURN)]
    assert [changed for changed in seen if changed] == [{2}]


def test_where_someone_labels_edits_are_seen_sooner(server: ScriptedServer, watch: Poller) -> None:
    projects = Projects(server, 8)
    for _ in range(4 * TURN):
        watch.ask(unread(projects.held), [5])
    projects.held[5][2] = 30
    seen = [watch.ask(unread(projects.held), [5]) for _ in range(2 * TURN)]
    assert [changed for changed in seen if changed] == [{5}]


def test_what_was_read_already_is_no_news(server: ScriptedServer, watch: Poller) -> None:
    projects = Projects(server, 1)
    for _ in range(TURN):
        watch.ask(unread(projects.held), [1])
    projects.held[1] = [10, 1, 30]  # a label, told by the counts first
    assert watch.ask(unread([1]), [1]) == {1}
    read = {1: datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC).timestamp()}
    assert [watch.ask(read, [1]) for _ in range(2 * TURN)] == [set()] * 2 * TURN
    projects.held[1][2] = 31  # an edit after that
    assert {1} in [watch.ask(read, [1]) for _ in range(TURN)]


def test_a_project_that_joins_is_read_once(server: ScriptedServer, watch: Poller) -> None:
    Projects(server, 2)
    watch.ask(unread([1]), ())
    assert watch.ask(unread([1, 2]), ()) == {2}
    assert watch.ask(unread([2]), ()) == set()
    assert watch.ask(unread([1, 2]), ()) == {1}


def test_a_server_without_counts_is_asked_for_one_project_in_turn(
    server: ScriptedServer, watch: Poller
) -> None:
    projects = Projects(server, 3)
    server.on(COUNTS, json_reply({"detail": "Not found."}, 404))
    seen: set[int] = set()
    for _ in range(8):
        seen |= watch.ask(unread(projects.held), ())
    assert len(server.asked(COUNTS)) == 1
    assert seen <= set(projects.held)
    server.requests.clear()
    for _ in range(3):
        watch.ask(unread(projects.held), ())
    asked = {_query(request)["project"] for request in server.asked(TASKS)}
    assert asked == {"1", "2", "3"}


def test_many_projects_take_a_request_for_each_hundred(
    server: ScriptedServer, watch: Poller
) -> None:
    projects = Projects(server, 2 * MOST_PROJECTS + MOST_NEW + 1)
    assert watch.ask(unread(projects.held), ()) == set(projects.held)
    assert len(server.asked(COUNTS)) == 3
    for _ in range(3):
        assert watch.ask(unread(projects.held), ()) == set()


def test_a_server_that_is_busy_is_told(server: ScriptedServer, watch: Poller) -> None:
    busy = json_reply({"detail": "slow down"}, 429, **{"Retry-After": "7"})
    server.routes |= {COUNTS: lambda _: busy, TASKS: lambda _: busy}
    with pytest.raises(StudioUnreachable) as caught:
        watch.ask(unread([1]), ())
    assert caught.value.retry_after == 7.0
