import json
import math

import numpy as np
import pytest
from sqlalchemy import select

from store.database.schema import prediction, work
from store.predictions.pending_answers import tasks_with_pending_answer
from store.projects.projects import change_project, find_project
from store.tasks.tasks import get_tasks, mark_broken
from store.versions.versions import START
from tests.support.web import (
    CONFIG,
    LS_ID,
    SPACE,
    UID,
    Running,
    add_project,
    add_tasks,
    key_of,
    predict_body,
    recorded,
    running,
    serve_version,
    task_payload,
    uri_of,
    vectors_of,
)


def ask(web: Running, tasks: list, context: object = None) -> list[dict]:
    answer = web.post("/predict", predict_body(tasks, context))
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def choice(entry: dict) -> str | None:
    if not entry["result"]:
        return None
    assert entry["result"][0]["from_name"] == "kind"
    return entry["result"][0]["value"]["choices"][0]


def given(web: Running) -> dict[int, tuple[str, float]]:
    """What is remembered of predictions: {task: (source, score)}."""
    flush(web)
    with web.store.database.read() as db:
        rows = db.execute(select(prediction)).all()
    return {row.task_ls_id: (row.source, row.score) for row in rows}


def flush(web: Running) -> None:
    """Wait until what was submitted to the web process's writer is committed."""
    web.app.state.app_state.store.database.write(lambda db: None)


def requested_work(web: Running) -> set[str]:
    with web.store.database.read() as db:
        return set(db.execute(select(work.c.kind)).scalars())


def digestible(results: list, count: int) -> None:
    """What Label Studio 1.23.2 can take: one dict a task, with a result, a number, a name."""
    assert len(results) == count
    for entry in results:
        assert isinstance(entry, dict)
        assert isinstance(entry["result"], list)
        assert isinstance(entry["score"], float)
        assert math.isfinite(entry["score"])
        assert 0 <= entry["score"] <= 1
        assert entry["model_version"].startswith("apprentice v")


@pytest.fixture
def served(web, project):
    """Tasks 1 to 20 are embedded, a version is served, 5 and 3 are the shortlist."""
    add_tasks(web.store, project, range(1, 21), embedded=True)
    serve_version(web.store, project, shortlist=[5, 3])
    return project


def test_each_task_gets_its_suggestion_in_order(web, served):
    tasks = [7, 2, 9, 4]
    results = ask(web, [task_payload(task) for task in tasks])
    digestible(results, 4)
    assert [choice(entry) for entry in results] == ["dog", "cat", "dog", "cat"]
    assert {entry["model_version"] for entry in results} == {"apprentice v1"}
    assert all(0.5 <= entry["result"][0]["score"] <= 1 for entry in results)


def test_the_shortlist_comes_before_all_else_and_in_its_order(web, served):
    results = ask(web, [task_payload(task) for task in (3, 4, 5, 6)])
    scores = dict(zip((3, 4, 5, 6), (entry["score"] for entry in results), strict=True))
    assert scores[5] < scores[3] < 0.5 <= min(scores[4], scores[6])


def test_what_was_answered_is_remembered(web, served):
    results = ask(web, [task_payload(1), task_payload(5)])
    kept = given(web)
    assert kept == {
        1: ("answered", results[0]["score"]),
        5: ("answered", results[1]["score"]),
    }
    ask(web, [task_payload(1)])
    assert given(web).keys() == {1, 5}


def test_an_unsure_suggestion_is_not_shown_but_orders(web_settings):
    between = vectors_of(list(range(40))).astype(np.float32).mean(axis=0).astype(np.float16)
    strict = web_settings.model_copy(update={"min_confidence": 0.999})
    with running(strict) as web:
        project = add_project(web.store)
        web.store.embeddings.put(SPACE, {key_of(9): between})
        add_tasks(web.store, project, [2, 9], embedded=True)
        serve_version(web.store, project)
        clear, unsure = ask(web, [task_payload(2), task_payload(9)])
    digestible([clear, unsure], 2)
    assert choice(clear) == "cat"
    assert unsure["result"] == []
    assert 0.5 <= unsure["score"] < clear["score"]


@pytest.mark.parametrize(
    "odd",
    [None, 5, "task", [], {}, {"id": 1}, {"id": "x", "data": {"image": uri_of(1)}},
     {"id": 2**70, "data": {}}, {"id": True, "data": {}}, {"id": 1, "data": None},
     {"id": 1, "data": {}}, {"id": 1, "data": {"image": 5}}, {"id": 1, "data": {"image": ["a"]}},
     {"id": 1, "data": {"image": "  "}}, {"id": -1, "data": {"image": uri_of(1)}}],
)  # fmt: skip
def test_odd_tasks_keep_their_place(odd, odd_web):
    results = ask(odd_web, [task_payload(2), odd, task_payload(3)])
    digestible(results, 3)
    assert [choice(entry) for entry in results] == ["cat", None, "dog"]


@pytest.fixture(scope="module")
def odd_web(web_module):
    project = add_project(web_module.store)
    add_tasks(web_module.store, project, range(1, 21), embedded=True)
    serve_version(web_module.store, project)
    return web_module


def test_nothing_asked_is_nothing_answered(odd_web):
    assert ask(odd_web, []) == []


@pytest.mark.parametrize("tasks", [None, {}, "x", 3])
def test_tasks_that_are_no_list_are_a_400(odd_web, tasks):
    answer = odd_web.post("/predict", predict_body([]) | {"tasks": tasks})
    assert answer.status_code == 400
    assert "tasks" in answer.json()["error"]


def test_the_project_may_be_named_without_its_time_and_the_config_left_out(odd_web):
    body = {"tasks": [task_payload(2)], "project": str(LS_ID)}
    answer = odd_web.post("/predict", body)
    assert choice(answer.json()["results"][0]) == "cat"


def test_the_same_task_twice_is_answered_twice(odd_web):
    results = ask(odd_web, [task_payload(2), task_payload(2)])
    assert results[0] == results[1]


def test_interactive_is_a_dict_and_not_remembered(web, served):
    body = predict_body([task_payload(2) | {"annotations": [], "drafts": []}], {"result": []})
    results = web.post("/predict", body).json()["results"]
    assert isinstance(results[0], dict)
    assert choice(results[0]) == "cat"
    assert given(web) == {}


def test_the_label_config_of_the_request_counts(web, served):
    fewer = CONFIG.replace('<Choice value="dog"/>', '<Choice value="cow"/>')
    body = predict_body([task_payload(1)]) | {"label_config": fewer}
    results = web.post("/predict", body).json()["results"]
    digestible(results, 1)
    assert choice(results[0]) in {"cat", None}
    nothing = predict_body([task_payload(1)]) | {"label_config": "<View/>"}
    results = web.post("/predict", nothing).json()["results"]
    digestible(results, 1)
    assert results[0]["result"] == []


def test_before_anything_is_learned_the_request_is_refused_so_that_it_is_asked_again(web, project):
    add_tasks(web.store, project, [1], embedded=True)
    for prepare in (lambda: None, lambda: serve_version(web.store, project, kind=START)):
        prepare()
        answer = web.post("/predict", predict_body([task_payload(1)]))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "nothing is learned yet" in answer.json()["error"]
    reason = "only 'cat' is labelled so far"
    web.store.database.write(lambda db: change_project(db, project.id, reason=reason))
    answer = web.post("/predict", predict_body([task_payload(1)]))
    assert reason in answer.json()["error"]
    assert given(web) == {}


def test_an_unknown_project_is_met(web):
    answer = web.post("/predict", recorded("predict_three"))
    assert answer.status_code == 503
    with web.store.database.read() as db:
        found = find_project(db, "default", LS_ID)
    assert found.label_config == ""
    assert "sync" in requested_work(web)
    unclear = predict_body([]) | {"project": "77"}
    assert web.post("/predict", unclear).status_code == 503
    with web.store.database.read() as db:
        assert find_project(db, "default", 77) is None


def test_without_the_inference_process_what_is_known_is_answered_and_the_rest_owed(web, served):
    results = ask(web, [task_payload(2), task_payload(50), task_payload(51)])
    digestible(results, 3)
    assert [choice(entry) for entry in results] == ["cat", None, None]
    with web.store.database.read() as db:
        assert tasks_with_pending_answer(db, served.id) == {50, 51}
        assert get_tasks(db, served.id, [50])[50].uri == uri_of(50)
    assert {"publish", "embed"} <= requested_work(web)
    assert given(web).keys() == {2, 50, 51}


def test_without_the_inference_process_a_new_image_alone_is_refused(web, served):
    answer = web.post("/predict", predict_body([task_payload(50)]))
    assert answer.status_code == 503
    assert "inference" in answer.json()["error"]
    assert given(web) == {}
    with web.store.database.read() as db:
        assert tasks_with_pending_answer(db, served.id) == set()


def test_an_image_known_to_be_broken_is_answered_for_good(web, served):
    web.store.database.write(lambda db: mark_broken(db, served.id, {4: "it is a text file"}))
    results = ask(web, [task_payload(4)])
    digestible(results, 1)
    assert results[0]["result"] == []
    assert results[0]["score"] == 1


def test_a_task_that_shows_another_image_now_is_not_answered_with_the_old_one(web, served):
    answer = web.post("/predict", predict_body([task_payload(2, "http://images/other.jpg")]))
    assert answer.status_code == 503


def test_the_embeddings_of_another_space_are_of_no_use(web, project):
    add_tasks(web.store, project, [1], embedded=True)
    serve_version(web.store, project, space=SPACE + "2")
    assert web.post("/predict", predict_body([task_payload(1)])).status_code == 503


def test_a_missing_model_is_a_passing_fault(web, served):
    for file in (web.store.settings.home / "artifacts").rglob("*.safetensors"):
        file.unlink()
    answer = web.post("/predict", predict_body([task_payload(2)]))
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_a_new_version_is_answered_from_at_once(web, served):
    ask(web, [task_payload(2)])
    serve_version(web.store, served)
    assert ask(web, [task_payload(2)])[0]["model_version"] == "apprentice v2"
    assert given(web).keys() == {2}


@pytest.mark.slow
def test_ten_thousand_tasks_are_answered_in_one_request(web, project):
    tasks = range(1, 10_001)
    add_tasks(web.store, project, tasks, embedded=True)
    serve_version(web.store, project)
    results = ask(web, [task_payload(task) for task in tasks])
    digestible(results, len(tasks))
    assert {choice(entry) for entry in results[::2]} == {"dog"}
    assert len(given(web)) == len(tasks)


def test_many_malformed_tasks_are_one_line_of_the_log(web, served, capfd):
    odd = [None, {}, [], "x", 1, {"id": 1}, {"id": -1, "data": {}}]
    answer = web.post("/predict", predict_body([task_payload(2), *odd * 10_000]))
    results = answer.json()["results"]
    assert len(results) == 1 + len(odd) * 10_000
    assert choice(results[0]) == "cat"
    assert all(entry["result"] == [] for entry in results[1:])
    lines = [line for line in capfd.readouterr().out.splitlines() if "malformed task" in line]
    assert len(lines) == 1
    assert "count=70000" in lines[0] or '"count": 70000' in lines[0]
    assert len(lines[0]) < 2_000


def test_bodies_and_secrets_are_not_in_the_log(web, served, capfd):
    marked = task_payload(2) | {"data": {"image": uri_of(2), "note": "private words"}}
    web.post("/predict", predict_body([marked, None]) | {"params": {"password": "hunter2"}})
    web.webhook(recorded("annotation_created"))
    web.post("/webhook", recorded("annotation_created"))
    shown = "".join(capfd.readouterr())
    assert "malformed task" in shown
    for secret in ("private words", "hunter2", web.connection.secret, "choices"):
        assert secret not in shown


def test_the_recorded_request_is_understood(web, served):
    body = recorded("predict_three")
    assert body["project"] == UID
    answer = web.post("/predict", body)
    assert answer.status_code == 503  # three new images, no inference process
    assert json.loads(answer.text)["error"].startswith("no image could be read")
