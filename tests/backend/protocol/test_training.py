"""Training, cancelling and another backbone, by the command line and the API."""

import json

import pytest
from typer.testing import CliRunner

from backend.cli.main import app
from store.projects.embedding_spaces import begin_move
from store.projects.projects import get_project
from store.versions.versions import SERVED, START, add_version
from store.work import pending_work
from store.work.jobs import list_jobs
from tests.support.web import LS_ID


@pytest.fixture
def run(web, monkeypatch):
    """The command line beside a web process; its output as JSON."""
    monkeypatch.setenv("APPRENTICE_HOME", str(web.store.settings.home))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str, code: int = 0):
        result = CliRunner().invoke(app, [*arguments, "--project", str(LS_ID), "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.output)

    return invoke


def wanted(web, project, kind: str) -> bool:
    with web.store.database.read() as db:
        item = pending_work.get_work(db, project.id, kind)
    return item is not None and item.wanted > item.done


def test_train_wishes_for_heads_or_for_fine_tuning(web, project, run):
    answer = run("train", "--kind", "finetune")
    assert answer["job"].startswith(f"finetune-{project.id}-g")
    assert (answer["kind"], answer["state"]) == ("finetune", "queued")
    assert wanted(web, project, "finetune")
    assert run("train")["job"].startswith(f"learn-{project.id}-g")
    assert wanted(web, project, "learn")


def test_asking_twice_fine_tunes_once(web, project, run):
    first = run("train", "--kind", "finetune")
    assert run("train", "--kind", "finetune")["job"] == first["job"]


def test_cancel_says_what_it_stopped(web, project, run):
    assert run("cancel") == {"project": LS_ID, "cancelled": []}
    run("train", "--kind", "finetune")
    web.app.state.app_state.scheduler.run_once()
    assert run("cancel")["cancelled"] == ["the fine-tuning"]
    assert not wanted(web, project, "finetune")
    with web.store.database.read() as db:
        states = {job.state for job in list_jobs(db, project.id) if job.kind == "finetune"}
    assert states == {"cancelled"}


def test_cancel_also_gives_up_the_move_to_what_was_tuned(web, project, run):
    tuned = "tuned:" + "0" * 64
    web.store.database.write(lambda db: begin_move(db, project.id, tuned, tuned + "@float32"))
    assert run("cancel")["cancelled"] == ["the move to the fine-tuned backbone"]
    with web.store.database.read() as db:
        assert get_project(db, project.id).next_backbone is None


def test_waiting_ends_when_the_fine_tuning_is_cancelled(web, project, run):
    import threading

    def stop():
        while not web.post(f"/api/v1/projects/{project.id}/cancel", {}).json()["cancelled"]:
            pass

    thread = threading.Thread(target=stop)
    thread.start()
    answer = run("train", "--kind", "finetune", "--wait", code=1)
    thread.join()
    assert answer["state"] == "cancelled"


def test_an_order_to_begin_with_is_not_what_was_learned(web, project, run):
    import threading

    def order(db):
        nothing = {"labels": 0, "labels_digest": "", "metrics": {}, "artifact": None}
        what = {"kind": START, "status": SERVED, "verdict": "an order to begin with"}
        add_version(db, project.id, embedding_space="test", **what, **nothing)

    def learn():
        while not wanted(web, project, "learn"):
            pass
        lease = web.store.database.write(lambda db: pending_work.begin(db, project.id, "learn", 1))
        web.store.database.write(lambda db: pending_work.finish(db, lease))

    web.store.database.write(order)
    thread = threading.Thread(target=learn)
    thread.start()
    shown = CliRunner().invoke(app, ["train", "--wait", "--project", str(LS_ID)])
    thread.join()
    assert shown.exit_code == 0, shown.output
    assert "Nothing was learned" in shown.output
    assert "apprentice v" not in shown.output


def test_the_api_trains_and_cancels(web, project):
    url = f"/api/v1/projects/{project.id}"
    answer = web.post(f"{url}/train", {"kind": "finetune"})
    assert answer.status_code == 201
    assert answer.json()["kind"] == "finetune"
    assert wanted(web, project, "finetune")
    assert web.post(f"{url}/cancel", {}).json() == {"cancelled": ["the fine-tuning"]}
    assert not wanted(web, project, "finetune")
    assert web.post(f"{url}/train", {"kind": "wings"}).status_code == 400
    assert web.post("/api/v1/projects/999/train", {}).status_code == 404


def test_a_project_is_given_another_backbone_by_command_and_api(web, project, run):
    run("train", "--backbone", "bundled:lite0")
    with web.store.database.read() as db:
        assert get_project(db, project.id).backbone == "bundled:lite0"
    assert wanted(web, project, "embed")
    url = f"/api/v1/projects/{project.id}/backbone"
    assert web.http.put(url, json={"backbone": None}).json() == {"backbone": None}
    with web.store.database.read() as db:
        assert get_project(db, project.id).backbone is None


def test_a_typo_in_a_backbone_is_told_at_once_with_what_is_near(web, project, run):
    answer = web.http.put(
        f"/api/v1/projects/{project.id}/backbone", json={"backbone": "bundled:lite00"}
    )
    assert answer.status_code == 400
    assert "bundled:lite0" in answer.json()["error"]
    result = CliRunner().invoke(
        app, ["train", "--project", str(LS_ID), "--backbone", "bundled:lite00"]
    )
    assert result.exit_code != 0
    assert "bundled:lite0" in str(result.exception)


def test_the_api_does_not_tell_which_files_there_are(web, project, tmp_path):
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"")
    answers = set()
    for path in (there, tmp_path / "not.safetensors", tmp_path, "/etc/passwd", "/nowhere"):
        for name in (
            f"file:{path}?model=timm:resnet18",
            f"keras:{path}",
            f"tensorflow:{path}",
            f"timm:{path}",
            f"tuned:../..{path}",
        ):
            answer = web.http.put(
                f"/api/v1/projects/{project.id}/backbone", json={"backbone": name}
            )
            answers.add((answer.status_code, answer.text))
    assert len(answers) == 1
    status, text = answers.pop()
    assert status == 400
    assert "apprentice train" in text
