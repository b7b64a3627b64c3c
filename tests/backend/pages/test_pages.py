from dataclasses import replace

import pytest
from sqlalchemy import insert

from backend.pages.routes import ago
from backend.views.status import project_status, system_status
from store.database.schema import job
from store.predictions.pending_answers import add_pending_answers
from store.projects.projects import change_project, get_project
from store.versions.versions import START
from store.work.jobs import add_job, change_job
from store.work.pending_work import fail, postpone, want
from tests.support.web import (
    CONFIG,
    Running,
    add_project,
    add_tasks,
    recorded,
    running,
    serve_version,
)

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


def page(web: Running) -> str:
    answer = web.http.get("/", headers=BROWSER)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def label(web: Running, task: int, choice: str, number: int) -> None:
    body = recorded("annotation_created")
    body["annotation"] |= {"id": number, "task": task}
    body["annotation"]["result"][0]["value"] = {"choices": [choice]}
    body["task"] |= {"id": task, "data": {"image": f"http://images/{task}.jpg"}}
    assert web.webhook(body).status_code == 200


def status(web: Running, project):
    with web.store.database.read() as db:
        now = get_project(db, project.id)
    return project_status(web.store, now)


def test_an_empty_installation_says_what_to_do(web_settings):
    with running(web_settings) as web:
        html = page(web)
    assert "apprentice connect" in html
    assert "No project yet" in html
    assert "No worker lives" in html
    assert "inference: does not answer" in html


def test_the_page_shows_a_project(web, project):
    add_tasks(web.store, project, range(1, 11), embedded=True)
    label(web, 1, "dog", 31)
    serve_version(web.store, project, shortlist=[1, 2, 3])
    html = page(web)
    assert "capture" in html
    assert "apprentice v1" in html
    assert "90.0%" in html
    assert "80.0% to 95.0%" in html
    assert "1 <small>of 10 tasks</small>" in html
    assert 'http-equiv="refresh"' in html
    assert "<script" not in html
    assert "No suggestions" not in html


def test_what_people_wrote_is_escaped(web):
    project = add_project(web.store)
    title = "<script>alert(1)</script>"
    web.store.database.write(lambda db: change_project(db, project.id, title=title))
    html = page(web)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert (
        "default-src 'none'"
        in web.http.get("/", headers=BROWSER).headers["content-security-policy"]
    )


def test_running_jobs_and_errors_are_shown(web, project):
    def prepare(db):
        want(db, project.id, "embed")
        want(db, project.id, "publish")
        fail(db, project.id, "publish", "Label Studio does not answer")
        postpone(db, project.id, "publish", 1e12)
        for number in (1, 2):
            add_job(db, project.id, "embed", number)
        change_job(
            db, f"embed-{project.id}-g1", state="failed", ended_at=2e9, error="out of memory"
        )
        change_job(
            db, f"embed-{project.id}-g2", state="started", progress=0.25, message="25 images"
        )

    web.store.database.write(prepare)
    html = page(web)
    assert "Waiting: publish" in html, "embed runs"
    assert 'value="0.25"' in html
    assert "25 images" in html
    assert "out of memory" in html
    assert "Label Studio does not answer" in html
    found = status(web, project)
    assert [j.id for j in found.jobs] == [f"embed-{project.id}-g2"]
    assert {e.message for e in found.errors} == {"out of memory", "Label Studio does not answer"}
    assert {w.kind: w.failures for w in found.waiting} == {"embed": 0, "publish": 1}


def test_status_counts_labels_that_can_be_used(web, project):
    add_tasks(web.store, project, range(1, 6), embedded=True)
    label(web, 1, "cat", 31)
    label(web, 1, "dog", 32)
    label(web, 2, "horse", 33)
    label(web, 3, "dog", 34)
    label(web, 4, "dog", 35)
    web.webhook(recorded("tasks_deleted") | {"tasks": [{"id": 4}]})
    serve_version(web.store, project, shortlist=[1, 2, 5])
    web.store.database.write(lambda db: add_pending_answers(db, project.id, [5]))
    found = status(web, project)
    assert (found.tasks, found.labels, found.embedded) == (4, 2, 4)
    assert (found.shortlist, found.owed) == (1, 1)
    assert found.accuracy.n == 40


def test_the_reason_says_why_there_is_no_suggestion(web):
    project = add_project(web.store)
    assert status(web, project).reason.startswith("no label yet")
    add_tasks(web.store, project, [1], embedded=False)
    label(web, 1, "cat", 31)
    assert status(web, project).reason == "no image is read yet"
    serve_version(web.store, project, kind=START)
    assert status(web, project).reason is not None
    web.store.database.write(
        lambda db: change_project(db, project.id, reason="only 'cat' is labelled")
    )
    assert status(web, project).reason == "only 'cat' is labelled"
    assert "only &#39;cat&#39; is labelled" in page(web)
    web.store.database.write(lambda db: change_project(db, project.id, reason=None))
    serve_version(web.store, project)
    assert status(web, project).reason is None


def test_the_api_says_the_same(web, project):
    add_tasks(web.store, project, [1, 2], embedded=True)
    serve_version(web.store, project)
    listed = web.http.get("/api/v1/projects").json()
    assert [entry["title"] for entry in listed] == ["capture"]
    one = web.http.get(f"/api/v1/projects/{listed[0]['id']}/status").json()
    assert one["version"] == "apprentice v1"
    assert one["accuracy"] == {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40}
    assert {"tasks", "labels", "version", "accuracy", "reason", "jobs", "workers"} <= one.keys()
    assert web.http.get(f"/api/v1/projects/{listed[0]['id']}").json()["tasks"] == 2
    everything = web.http.get("/api/v1/status").json()
    assert everything["broker"] is True
    assert everything["inference"] is False
    assert everything["connections"][0]["url"] == "http://localhost:1"
    assert web.connection.secret not in web.http.get("/api/v1/status").text
    versions = web.http.get(f"/api/v1/projects/{listed[0]['id']}/versions").json()
    assert versions[0]["status"] == "served"
    assert web.http.get(f"/api/v1/projects/{listed[0]['id']}/jobs").json() == []


@pytest.mark.parametrize("number", ["0", "99", "-1", "9" * 30, "x"])
def test_an_unknown_project_is_not_found(web_module, number):
    answer = web_module.http.get(f"/api/v1/projects/{number}/status")
    assert answer.status_code in {400, 404}
    assert "error" in answer.json()


def test_without_a_broker_the_page_says_so(web, project):
    nowhere = web.store.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    found = system_status(replace(web.store, settings=nowhere))
    assert found.broker is False
    assert found.projects[0].title == "capture"


def test_a_config_without_anything_to_learn_is_shown_not_failed(web):
    add_project(web.store, "<View><Text name='t' value='$t'/></View>")
    assert "capture" in page(web)
    add_project(web.store, CONFIG)


def test_old_errors_are_forgotten(web, project):
    def prepare(db):
        db.execute(
            insert(job).values(
                id="learn-1-g1", project_id=project.id, kind="learn", generation=1,
                state="failed", error="long ago", created_at=1.0, ended_at=2.0,
            )
        )  # fmt: skip

    web.store.database.write(prepare)
    assert "long ago" not in page(web)


@pytest.mark.parametrize(
    ("then", "said"),
    [(None, "never"), (1000.0, "0 s ago"), (941.0, "59 s ago"), (400.0, "10 min ago"),
     (1000.0 - 7200, "2 h ago"), (1000.0 - 172_900, "2 d ago"), (2000.0, "0 s ago")],
)  # fmt: skip
def test_times_are_said_in_words(then, said):
    assert ago(then, 1000.0) == said


def test_what_is_left_out_of_the_label_config_is_said(web):
    more = (
        '<Choices name="each" toName="image" perRegion="true"><Choice value="a"/></Choices></View>'
    )
    project = add_project(web.store, CONFIG.replace("</View>", more))
    said = "Choices 'each': labels of single regions are not learned, only of whole images"
    assert status(web, project).not_learned == (said,)
    assert "Not learned: Choices &#39;each&#39;" in page(web)
