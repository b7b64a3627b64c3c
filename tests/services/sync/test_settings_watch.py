"""Whether settings of projects have changed, asked of a scripted server."""

import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from services.sync.change_watch import MOST_PROJECTS
from services.sync.settings_watch import LONGEST_SECONDS, SettingsWatch
from store.projects.projects import Project, save_project
from studio.client import StudioClient
from tests.support.scripted_studio import (
    LEGACY_TOKEN,
    Reply,
    Request,
    ScriptedServer,
    json_reply,
)
from tests.support.workbench import Workbench, label_config

PROJECTS = "/api/projects/"
CREATED = "1970-01-01T00:16:40Z"  # second 1,000


class Listing:
    """The projects that a server lists: {id: settings}."""

    def __init__(self, server: ScriptedServer, count: int) -> None:
        own = {"title": "Pets", "label_config": label_config(), "created_at": CREATED}
        self.held: dict[int, dict[str, Any]] = {
            ls_id: own | {"id": ls_id} for ls_id in range(1, count + 1)
        }
        server.on(PROJECTS, self._list)

    def _list(self, request: Request) -> Reply:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.path).query))
        asked = list(map(int, query["ids"].split(",")))
        found = [self.held[ls_id] for ls_id in asked if ls_id in self.held]
        return json_reply({"count": len(found), "results": found[: int(query["page_size"])]})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def watch(server: ScriptedServer) -> Iterator[SettingsWatch]:
    with StudioClient(server.url, LEGACY_TOKEN) as client:
        yield SettingsWatch(client)


def known(bench: Workbench, count: int) -> dict[int, Project]:
    """As many projects as they are in the store, by Label Studio's ids."""

    def write(db):
        config = label_config()
        return [
            save_project(db, "default", ls_id, 1_000, title="Pets", label_config=config)
            for ls_id in range(1, count + 1)
        ]

    return {project.ls_id: project for project in bench.store.database.write(write)}


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({}, False),
        ({"title": "Birds"}, True),
        ({"label_config": label_config(("owl",))}, True),
        ({"created_at": "1970-01-01T00:20:00Z"}, True),
        ({"title": "", "label_config": None}, False),  # what isn't told is no news
    ],
)
def test_what_differs_from_the_store_is_told_until_it_is_read(
    workbench: Workbench,
    server: ScriptedServer,
    watch: SettingsWatch,
    settings: dict[str, Any],
    differs: bool,
) -> None:
    listing = Listing(server, 3)
    listing.held[2] |= settings
    projects = known(workbench, 3)
    for now in (0.0, 100.0):
        assert watch.ask(projects, now, 60.0) == ({2} if differs else set())


def test_nothing_is_asked_before_it_is_due(
    workbench: Workbench, server: ScriptedServer, watch: SettingsWatch
) -> None:
    Listing(server, 1)
    projects = known(workbench, 1)
    watch.ask(projects, 1_000.0, LONGEST_SECONDS)
    watch.ask(projects, 1_000.0 + LONGEST_SECONDS - 1, LONGEST_SECONDS)
    assert len(server.requests) == 1
    watch.ask(projects, 1_000.0 + LONGEST_SECONDS, LONGEST_SECONDS)
    assert len(server.requests) == 2
    watch.ask({}, 1e9, 60.0)
    assert len(server.requests) == 2


def test_many_projects_take_a_request_for_each_hundred(
    workbench: Workbench, server: ScriptedServer, watch: SettingsWatch
) -> None:
    Listing(server, MOST_PROJECTS + 1).held[MOST_PROJECTS + 1]["title"] = "Birds"
    projects = known(workbench, MOST_PROJECTS + 1)
    assert watch.ask(projects, 0.0, 60.0) == {MOST_PROJECTS + 1}
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 404, 200])
def test_where_settings_are_not_listed_each_project_is_to_be_read(
    workbench: Workbench, server: ScriptedServer, watch: SettingsWatch, status: int
) -> None:
    server.on(PROJECTS, json_reply({"results": [{"id": 1}]}, status))
    assert watch.ask(known(workbench, 2), 0.0, 60.0) == {1, 2}
