"""Answers of /predict with guest models: beside ours, alone, to smart tools, and in failures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.predictions.pending_answers import tasks_with_pending_answer
from store.projects.projects import list_projects
from store.settings import Settings
from store.store import Store
from tests.support.guests import (
    MIXED,
    OLDER,
    RECTANGLES,
    TEXT,
    guests_running,
    report_of,
    set_mood,
    until,
    until_ready,
)
from tests.support.web import (
    Running,
    add_project,
    add_tasks,
    predict_body,
    running,
    serve_version,
    task_payload,
)
from worker.guests.server import GuestServer


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        redis_url="redis://localhost:1",
        guests=f"{RECTANGLES}; {OLDER}@tone",
        guest_seconds=20,
        blind_share=0,
    )
    with running(settings) as served:
        yield served


@pytest.fixture(scope="module")
def server(web: Running) -> Iterator[GuestServer]:
    with guests_running(web.store) as started:
        until_ready(started)
        yield started


@pytest.fixture
def mixed(web: Running, server: GuestServer) -> Iterator[Store]:
    """A project with choices, which are ours, and rectangles, which are the guest's."""
    project = add_project(web.store, MIXED)
    add_tasks(web.store, project, range(1, 40), embedded=True)
    serve_version(web.store, project)
    yield web.store
    set_mood(web.store, "")
    until(lambda: server.runners["Rectangles"].status.state == "ready")


def body(tasks: list[int], context: object = None, config: str = MIXED) -> dict:
    return predict_body([task_payload(task) for task in tasks], context) | {"label_config": config}


def controls(entry: dict) -> list[str]:
    return sorted(region["from_name"] for region in entry["result"])


def test_a_guest_answers_beside_us(web: Running, mixed: Store) -> None:
    answer = web.post("/predict", body([1, 2]))
    results = answer.json()["results"]
    assert [controls(entry) for entry in results] == [["box", "kind"]] * 2
    assert {entry["model_version"] for entry in results} == {"apprentice v1"}


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("raise", "ValueError: out of paper"),
        ("none", "predict returned None"),
        ("number", "predict returned a int"),
        ("short", "predict returned 2 predictions for 1 tasks"),
        ("crash", "its process ended with code 7"),
    ],
)
def test_a_guest_that_fails_leaves_ours(
    web: Running, mixed: Store, server: GuestServer, mood: str, reason: str
) -> None:
    task = 10 + ["raise", "none", "number", "short", "crash"].index(mood)
    set_mood(mixed, mood)
    answer = web.post("/predict", body([task]))
    assert answer.status_code == 200
    assert controls(answer.json()["results"][0]) == ["kind"]
    with mixed.database.read() as db:
        assert task in tasks_with_pending_answer(db, list_projects(db)[0].id)
    until(lambda: reason in (report_of(mixed)["Rectangles"].reason or ""))
    page = web.http.get("/", headers={"Accept": "text/html"}).text
    assert reason in page
    set_mood(mixed, "")
    until(lambda: server.runners["Rectangles"].status.state == "ready")
    again = web.post("/predict", body([task]))
    assert controls(again.json()["results"][0]) == ["box", "kind"]


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("nan", "isn't finite"),
        ("score", "score of 'box' is 'high'"),
        ("unknown", "from_name is 'nobody'"),
        ("text", "a region is a str"),
    ],
)
def test_of_a_wrong_answer_the_rest_is_shown(
    web: Running, mixed: Store, mood: str, reason: str
) -> None:
    task = 20 + ["nan", "score", "unknown", "text"].index(mood)
    set_mood(mixed, mood)
    answer = web.post("/predict", body([task]))
    assert controls(answer.json()["results"][0]) == ["box", "kind"]
    until(lambda: reason in (report_of(mixed)["Rectangles"].reason or ""))


def test_a_guest_that_answers_the_first_task_alone_is_asked_one_by_one(
    web: Running, mixed: Store
) -> None:
    set_mood(mixed, "first only")
    results = web.post("/predict", body([30, 31, 32])).json()["results"]
    assert [controls(entry) for entry in results] == [["box", "kind"]] * 3


def test_a_smart_tool_is_answered_with_an_object(web: Running, mixed: Store) -> None:
    point = {"from_name": "point", "type": "keypointlabels", "value": {"x": 33}}
    [entry] = web.post("/predict", body([1], {"result": [point]})).json()["results"]
    assert entry["result"][0]["value"]["x"] == 33
    set_mood(mixed, "raise")
    answer = web.post("/predict", body([1], {"result": [point]}))
    assert (answer.status_code, answer.json()["results"][0]["result"]) == (200, [])


def test_what_is_known_is_answered_without_the_guest(web: Running, mixed: Store) -> None:
    web.post("/predict", body([1, 2]))
    set_mood(mixed, "raise")
    results = web.post("/predict", body([1, 2])).json()["results"]
    assert [controls(entry) for entry in results] == [["box", "kind"]] * 2


def test_a_guest_serves_a_project_alone(web: Running, server: GuestServer) -> None:
    add_project(web.store, TEXT)
    task = {"id": 900, "data": {"text": "hello"}}
    answer = web.post("/predict", predict_body([task, None]) | {"label_config": TEXT})
    first, malformed = answer.json()["results"]
    assert controls(first) == ["tone"]
    assert malformed["result"] == []


def test_settings_without_guests_cost_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, redis_url="redis://localhost:1", blind_share=0)
    with running(settings) as plain:
        project = add_project(plain.store, MIXED)
        add_tasks(plain.store, project, [1], embedded=True)
        serve_version(plain.store, project)
        assert plain.app.state.app_state.guests is None
        [entry] = plain.post("/predict", body([1])).json()["results"]
        assert controls(entry) == ["kind"]
        assert not (tmp_path / "guests.db").exists()
