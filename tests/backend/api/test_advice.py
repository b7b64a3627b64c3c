"""What is advised: by API, by command, on the status page, all the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from model.active_learning.advice import Advice, Agreement, AuditedPick, Choosing, Outlook
from model.statistics.intervals import Estimate
from services.advice import save_advice
from store.predictions.auto_accepts import MARKED, Acceptance, add_acceptances
from store.projects.projects import Project
from store.settings import Settings
from store.versions.versions import Version
from store.work.pending_work import get_work
from tests.support.web import LS_ID, Running, serve_version


def advised(web: Running, project: Project) -> Version:
    found = Advice(
        at=1000.0,
        labels=220,
        accuracy=Estimate(0.93, 0.85, 0.97, 90),
        open_accuracy=Estimate(0.95, 0.87, 0.99, 90),
        seconds_per_label=78.0,
        outlook=Outlook(
            labels=200,
            more=100,
            gain=Estimate(0.006, 0.002, 0.01, 90),
            limit=Estimate(0.96, 0.94, 0.98, 90),
            at_random=True,
            rise=(1.2, 0.5),
        ),
        choosing=Choosing(Estimate(-0.2, -0.3, -0.1, 90), 45, False, True),
        agreement=[Agreement(210, 0.97), Agreement(220, 0.995)],
        picks=[AuditedPick(i, 0.99, i == 0, "cat") for i in range(200)],
    )
    return save(web, project, found)


def save(web: Running, project: Project, advice: Advice) -> Version:
    """Have a version served, of which this is known."""
    version = serve_version(web.store, project)
    web.store.database.write(lambda db: save_advice(db, project.id, version.id, advice))
    return version


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", "advice", "--project", str(LS_ID), *arguments],
        env={"APPRENTICE_HOME": str(settings.home), "PATH": "/usr/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def test_before_the_first_learning_nothing_is_advised(web: Running, project: Project) -> None:
    found = web.http.get(f"/api/v1/projects/{project.id}/advice").json()
    assert (found["at"], found["sentences"], found["stop"]) == (None, [], False)
    assert found["accepting"]["state"] == "off"
    assert web.http.get("/api/v1/projects/99/advice").status_code == 404


def test_the_api_says_it_in_numbers_and_in_words(web: Running, project: Project) -> None:
    advised(web, project)
    found = web.http.get(f"/api/v1/projects/{project.id}/advice").json()
    assert found["outlook"]["gain"] == {"value": 0.006, "low": 0.002, "high": 0.01, "n": 90}
    said = found["sentences"]
    assert said[0].startswith("By 90 random picks, suggestions are right on 93.0% (95% interval")
    assert "The next 100 labels: +0.6 ± 0.4 points, about 2 h 10 min at this team's" in said[1]
    assert "κ 0.995" in said[2]
    assert "Choosing does not pay here" in said[3]
    assert "drawn at random" in said[3]


def test_a_goal_is_set_and_compared_with(web: Running, project: Project) -> None:
    advised(web, project)
    base = f"/api/v1/projects/{project.id}"
    goal = web.http.put(f"{base}/goal", json={"accuracy": 0.95}).json()
    assert (goal["accuracy"], goal["accept_error"]) == (0.95, None)
    found = web.http.get(f"{base}/advice").json()
    assert "takes about 169 labels more" in " ".join(found["sentences"])
    assert not found["stop"]
    web.http.put(f"{base}/goal", json={"accuracy": 0.8})
    found = web.http.get(f"{base}/advice").json()
    assert "is reached" in " ".join(found["sentences"])
    assert found["stop"]
    with web.store.database.read() as db:
        assert get_work(db, project.id, "learn") is not None
    assert web.http.put(f"{base}/goal", json={"accuracy": 2}).status_code == 400


def test_a_goal_that_nothing_is_known_of_is_no_reason_to_stop(
    web: Running, project: Project
) -> None:
    gain = Estimate(0.001, 0.0, 0.002, 90)
    outlook = Outlook(200, 100, gain, Estimate(0.8, 0.7, 0.9, 90), False, (0.1, 0.5))
    found = Advice(1000.0, 220, None, None, None, outlook, stable=True)
    save(web, project, found)
    base = f"/api/v1/projects/{project.id}"
    assert web.http.get(f"{base}/advice").json()["stop"]
    web.http.put(f"{base}/goal", json={"accuracy": 0.95})
    advice = web.http.get(f"{base}/advice").json()
    assert "is not known yet" in " ".join(advice["sentences"])
    assert not advice["stop"]


def test_what_is_accepted_is_told_with_its_bound(web: Running, project: Project) -> None:
    version = advised(web, project)
    base = f"/api/v1/projects/{project.id}"
    web.http.put(f"{base}/goal", json={"accept_error": 0.05})
    item = Acceptance(7, version.id, 0.99, [{"id": "apprentice-0"}], MARKED, None, 0.0)
    web.store.database.write(lambda db: add_acceptances(db, project.id, [item]))
    found = web.http.get(f"{base}/advice").json()["accepting"]
    assert (found["state"], found["audited"], found["wrong"]) == ("on", 200, 1)
    assert found["bound"] <= 0.05
    assert found["tasks"] == {"marked": 1}
    (listed,) = web.http.get(f"{base}/accepted").json()
    assert (listed["task"], listed["state"], listed["annotation"]) == (7, "marked", None)
    said = web.http.get(f"{base}/advice").json()["sentences"]
    assert any("Accepted unseen: 1 tasks (only marked)" in sentence for sentence in said)


def test_the_command_prints_and_changes(
    web: Running, web_settings: Settings, project: Project
) -> None:
    assert "Nothing is known yet" in command(web_settings).stdout
    advised(web, project)
    shown = json.loads(command(web_settings, "--goal", "95%", "--write", "--json").stdout)
    assert (shown["goal"]["accuracy"], shown["goal"]["accept_writes"]) == (0.95, True)
    sentences = web.http.get(f"/api/v1/projects/{project.id}/advice").json()["sentences"]
    assert command(web_settings).stdout.splitlines() == sentences
    wrong = command(web_settings, "--accept-error", "7")
    assert wrong.returncode == 2
    assert "such as 0.05 or 5%, or off" in wrong.stderr


@pytest.mark.parametrize("path", ["/", "/api/v1/status"])
def test_the_status_page_says_it_too(web: Running, project: Project, path: str) -> None:
    advised(web, project)
    page = web.http.get(path, headers={"accept": "text/html"}).text
    assert "about 2 h 10 min at this team" in page
