import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from sqlalchemy import delete, select

from backend import app_state
from store.database.schema import connection, work
from store.projects.connections import get_connection, save_connection
from store.projects.key_values import REPAIR
from store.projects.projects import change_project, find_project, get_project, list_projects
from store.projects.unconfirmed import MOST, UNCONFIRMED
from store.tasks.annotations import current_annotations
from store.versions.versions import START
from store.work.jobs import add_job, change_job
from store.work.pending_work import get_work, list_wanted, want
from tests.support.web import (
    CONFIG,
    LS_CREATED,
    LS_ID,
    UID,
    Running,
    predict_body,
    recorded,
    running,
    serve_version,
    task_payload,
)

JSON = {"Content-Type": "application/json"}
CALLS = ("/setup", "/predict", "/webhook", "/train", "/job_status")


def requested_work(web: Running) -> dict[str, int]:
    with web.store.database.read() as db:
        return {row.kind: row.wanted for row in db.execute(select(work.c.kind, work.c.wanted))}


@pytest.mark.parametrize("prefix", ["", "/c/default"])
def test_health_is_up(web, prefix):
    assert web.http.get(f"{prefix}/health").json()["status"] == "UP"
    assert web.http.get(prefix or "/").json()["status"] == "UP"
    assert web.post(prefix or "/", {}).json()["status"] == "UP"


def test_calls_below_an_unknown_connection_say_what_to_do(web):
    for path in ("health", "versions"):
        assert web.http.get(f"/c/nobody/{path}").status_code == 404
    for path in CALLS:
        answer = web.post(f"/c/nobody{path}", {})
        # Who sends webhooks is not told which connections there are.
        assert answer.status_code == (401 if path == "/webhook" else 404), path
        assert "apprentice connect" in answer.json()["error"]


def test_a_connection_made_while_we_run_is_known_at_once(web):
    assert web.http.get("/c/new/health").status_code == 404
    web.store.database.write(lambda db: save_connection(db, "new", "http://new", "t"))
    assert web.http.get("/c/new/health").status_code == 200


@pytest.mark.parametrize("path", [*CALLS, "/c/default/predict"])
@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe\xfa", "JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1e999}', "too large"),
        (b"[" * 200_000, "deep"),
        (b"[]", "list"),
        (b"null", "null"),
        (b'"text"', "string"),
    ],
)
def test_what_is_no_json_object_is_a_400_that_says_so(web_module, path, raw, word):
    answer = web_module.http.post(path, content=raw, headers=web_module.secret | JSON)
    assert answer.status_code == 400
    assert word in answer.json()["error"]


def test_bodies_have_a_limit(web):
    answer = web.http.post("/webhook", content=b" " * 2_000_001, headers=JSON)
    assert answer.status_code == 413
    parts = (b" " * 100_000 for _ in range(30))
    answer = web.http.post("/webhook", content=parts, headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("uid", [None, "", "x", "1.y", "-1.2", "0.5", 1.5, True, [], "9" * 40])
def test_a_project_that_is_none_is_a_400(web_module, uid):
    for path, body in (
        ("/setup", {"project": uid, "schema": CONFIG}),
        ("/train", {"project": uid}),
        ("/predict", predict_body([]) | {"project": uid}),
    ):
        answer = web_module.post(path, body)
        assert answer.status_code == 400, (path, uid)
        assert "project" in answer.json()["error"] or "id" in answer.json()["error"]


def test_setup_makes_the_project_known_and_has_it_repaired(web):
    assert web.post("/setup", recorded("setup")).json() == {"model_version": "apprentice v0"}
    with web.store.database.read() as db:
        project = find_project(db, "default", LS_ID, LS_CREATED)
        assert project is not None
        assert REPAIR.of(project.id).get(db)
        assert UNCONFIRMED.of(project.id).get(db)
    assert project.label_config == "", "only Label Studio's API says what it is"
    assert requested_work(web).keys() == {"sync"}


def test_setup_again_writes_nothing(web):
    web.post("/setup", recorded("setup"))
    with web.store.database.read() as db:
        project = find_project(db, "default", LS_ID, LS_CREATED)
    web.store.database.write(lambda db: change_project(db, project.id, reconciled_at=1e12))
    before = requested_work(web)
    for _ in range(20):
        assert web.post("/setup", recorded("setup")).status_code == 200
    assert requested_work(web) == before


def test_setup_changes_no_label_config_but_has_label_studio_asked(web, project):
    web.post("/setup", recorded("setup"))
    before = requested_work(web)["sync"]
    for schema in ("<View/>", CONFIG.replace("dog", "cow"), "<View/>"):
        web.post("/setup", recorded("setup") | {"schema": schema})
    while requested_work(web)["sync"] == before:  # the test's time limit ends this
        time.sleep(0.01)
    with web.store.database.read() as db:
        assert get_project(db, project.id).label_config == CONFIG
    assert requested_work(web).keys() == {"sync"}


def test_invented_projects_are_few(web, project):
    answers = [
        web.post("/setup", {"project": f"{n}.1700000000", "schema": CONFIG})
        for n in range(100, 100 + MOST + 20)
    ]
    assert [answer.status_code for answer in answers] == [200] * MOST + [503] * 20
    assert int(answers[-1].headers["Retry-After"]) > 0
    refused = web.post("/predict", predict_body([]) | {"project": "999.1700000000"})
    assert refused.status_code == 503
    with web.store.database.read() as db:
        assert len(list_projects(db)) == MOST + 1
        # A request that doesn't say when its project was made means the one that is known.
        assert find_project(db, "default", LS_ID).id == project.id
    web.post("/setup", {"project": f"{LS_ID}.{LS_CREATED + 60}"})
    assert web.post("/setup", recorded("setup")).status_code == 200
    assert web.webhook(recorded("project_updated")).status_code == 200


def test_setup_names_what_is_served_also_when_it_changes(web, project):
    web.post("/setup", recorded("setup"))
    assert serve_version(web.store, project, kind=START).number == 0
    assert web.post("/setup", recorded("setup")).json() == {"model_version": "apprentice v0"}
    serve_version(web.store, project)
    # It looks at the store a few times a second; the test's time limit ends this.
    while web.post("/setup", recorded("setup")).json() == {"model_version": "apprentice v0"}:
        time.sleep(0.02)
    assert web.post("/setup", recorded("setup")).json() == {"model_version": "apprentice v1"}


def test_setup_never_believes_the_hostname(web):
    body = recorded("setup") | {"hostname": "http://attacker.example"}
    web.post("/setup", body)
    with web.store.database.read() as db:
        assert get_connection(db, "default") == web.connection


def test_setup_of_a_reused_id_is_another_project_beside_the_known_one(web, project):
    web.post("/setup", recorded("setup") | {"project": f"{LS_ID}.{LS_CREATED + 60}"})
    with web.store.database.read() as db:
        listed = list_projects(db)
        newest = find_project(db, "default", LS_ID)
    assert [p.ls_created for p in listed] == [LS_CREATED, LS_CREATED + 60]
    assert newest.id == project.id, "until Label Studio has confirmed the other one"


def test_setup_has_label_studio_asked_for_a_disconnected_project_but_not_for_one_just_left(
    web, project
):
    web.store.database.write(lambda db: change_project(db, project.id, gone_at=1.0))
    web.post("/setup", recorded("setup"))
    with web.store.database.read() as db:
        assert get_project(db, project.id).gone_at == 1.0
        assert UNCONFIRMED.of(project.id).get(db)
        assert [item.kind for item in list_wanted(db)] == ["sync"]
    web.store.database.write(lambda db: UNCONFIRMED.of(project.id).delete(db))
    web.store.database.write(lambda db: change_project(db, project.id, gone_at=1e12))
    for _ in range(3):  # Label Studio calls it once more while the backend is removed
        web.post("/setup", recorded("setup"))
    with web.store.database.read() as db:
        assert UNCONFIRMED.of(project.id).get(db) is None


def test_versions_are_those_that_were_shown(web, project):
    assert web.http.get("/versions").json() == {"versions": []}
    serve_version(web.store, project)
    serve_version(web.store, project)
    assert web.http.get("/versions").json() == {"versions": ["apprentice v2", "apprentice v1"]}
    assert web.http.get("/c/default/versions").json()["versions"][0] == "apprentice v2"


def test_train_names_a_job_whose_state_can_be_asked(web, project):
    answer = web.post("/train", {"project": UID, "annotations": [], "label_config": CONFIG})
    assert answer.status_code == 201
    job = answer.json()["job"]
    assert web.post("/job_status", {"job": job}).json()["job_status"] in {"queued", "started"}


def test_job_status_follows_the_job_and_its_successor(web, project):
    def prepare(db):
        want(db, project.id, "learn", not_before=1e12)
        add_job(db, project.id, "learn", 7)

    web.store.database.write(prepare)
    job = f"learn-{project.id}-g7"
    for state, shown in (
        ("queued", "queued"),
        ("started", "started"),
        ("finished", "finished"),
        ("failed", "failed"),
        ("lost", "failed"),
    ):
        web.store.database.write(lambda db, state=state: change_job(db, job, state=state))
        assert web.post("/job_status", {"job": job}).json() == {"job_status": shown}
    with web.store.database.read() as db:
        assert get_work(db, project.id, "learn").wanted == 1
    waiting = web.post("/job_status", {"job": f"learn-{project.id}-g1"})
    assert waiting.json() == {"job_status": "queued"}


@pytest.mark.parametrize("job", ["", "nope", "learn-1-g9", "learn-999-g1", "sync-1-g1"])
def test_an_unknown_job_is_gone(web_module, job):
    assert web_module.post("/job_status", {"job": job}).status_code == 410


def test_a_job_that_is_no_string_is_a_400(web):
    assert web.post("/job_status", {"job": 5}).status_code == 400


def test_unknown_paths_and_methods_are_json_too(web):
    assert web.http.get("/nothing").json()["error"] == "Not Found"
    assert web.http.get("/predict").status_code == 405
    assert "error" in web.http.get("/predict").json()


def test_the_same_project_id_of_two_label_studios_is_two_projects(web):
    web.store.database.write(lambda db: save_connection(db, "b", "http://b", "t"))
    web.post("/setup", recorded("setup"))
    web.post("/c/b/setup", recorded("setup"))
    with web.store.database.read() as db:
        assert {p.connection_id for p in list_projects(db)} == {"default", "b"}
    answer = web.post("/c/b/predict", predict_body([task_payload(1)]))
    assert answer.status_code == 503


def test_the_web_process_needs_neither_torch_nor_openvino_nor_sklearn():
    code = (
        "import sys, json, backend.app; from studio.config import parse_label_config; "
        f"assert parse_label_config({CONFIG!r}).controls; "
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert loaded.isdisjoint({"torch", "openvino", "sklearn", "timm", "torchvision", "scipy"})


def test_requests_for_the_default_connection_say_how_to_make_it(web_settings):
    with running(web_settings) as web:
        web.store.database.write(lambda db: db.execute(delete(connection)))
        answer = web.post("/setup", recorded("setup"))
        assert answer.status_code == 404
        assert "LABEL_STUDIO_URL" in answer.json()["error"]


def test_a_known_project_is_answered_while_another_process_writes(web, project):
    serve_version(web.store, project)
    assert web.post("/setup", recorded("setup")).json()["model_version"] == "apprentice v1"
    with closing(sqlite3.connect(web.store.settings.home / "apprentice.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert web.http.get("/health").status_code == 200
        assert web.post("/setup", recorded("setup")).json()["model_version"] == "apprentice v1"


def test_a_database_locked_for_long_is_a_503_and_then_it_goes_on(web, monkeypatch):
    monkeypatch.setattr(app_state, "WRITE_SECONDS", 0.1)
    with closing(sqlite3.connect(web.store.settings.home / "apprentice.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = web.post("/setup", recorded("setup"))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "locked" in answer.json()["error"]
    while (answer := web.post("/setup", recorded("setup"))).status_code == 503:
        pass  # the writer has still to notice; the test's time limit ends this
    assert answer.json() == {"model_version": "apprentice v0"}


def test_a_failing_store_is_a_503_and_what_memory_holds_is_still_answered(web, project):
    serve_version(web.store, project)
    web.post("/setup", recorded("setup"))
    web.webhook(recorded("project_updated"))
    with closing(sqlite3.connect(web.store.settings.home / "apprentice.db")) as other:
        other.execute("ALTER TABLE project RENAME TO lost")
    for answer in (
        web.post("/predict", predict_body([task_payload(1)])),
        web.http.get("/api/v1/projects"),
    ):
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "not available now" in answer.json()["error"]
    assert web.http.get("/health").status_code == 200
    assert web.post("/setup", recorded("setup")).json()["model_version"] == "apprentice v1"
    accepted = web.http.post("/webhook", json=recorded("annotation_created"), headers=web.secret)
    assert accepted.status_code == 200
    with closing(sqlite3.connect(web.store.settings.home / "apprentice.db")) as other:
        other.execute("ALTER TABLE lost RENAME TO project")
    web.settle()
    with web.store.database.read() as db:
        assert [found.ls_id for found in current_annotations(db, project.id)] == [16]
