"""Versions by the command line and the API: listed with their metrics, rolled back, promoted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from store.predictions.publications import pending_publications
from store.projects.projects import Project, get_project
from store.settings import Settings
from store.versions.versions import change_version, list_versions
from tests.support.web import LS_ID, Running, add_project, add_tasks, serve_version


@pytest.fixture
def project(web: Running) -> Project:
    """Two versions were served, one after the other; two tasks are chosen next."""
    project = add_project(web.store)
    add_tasks(web.store, project, range(1, 11), embedded=True)
    first = serve_version(web.store, project)
    web.store.database.write(lambda db: mark_published(db, first.id))
    second = serve_version(web.store, project, shortlist=[1, 2])
    web.store.database.write(lambda db: mark_published(db, second.id))
    return project


def mark_published(db: Any, version_id: int) -> None:
    change_version(db, version_id, published_at=1.0)


def pending(web: Running, project: Project) -> list[tuple[int, str]]:
    with web.store.database.read() as db:
        return [(p.version_id, p.reason) for p in pending_publications(db, project.id)]


def command(
    settings: Settings, *arguments: str, columns: int = 200
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env={"APPRENTICE_HOME": str(settings.home), "PATH": "/usr/bin", "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def test_versions_are_listed_with_their_metrics_and_verdict(
    web: Running, web_settings: Settings, project: Project
) -> None:
    by_api = web.http.get(f"/api/v1/projects/{project.id}/versions").json()
    assert [(v["name"], v["status"]) for v in by_api] == [
        ("apprentice v2", "served"),
        ("apprentice v1", "retired"),
    ]
    for version in by_api:
        assert version["metrics"]["accuracy"] == {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40}
        assert (version["kind"], version["labels"], version["verdict"]) == ("head", 40, "better")
        assert version["created_at"] > 0
    shown = command(web_settings, "versions", "--project", str(LS_ID), "--json")
    assert json.loads(shown.stdout) == by_api
    table = command(web_settings, "versions", "--project", str(LS_ID)).stdout
    assert "apprentice v2" in table
    assert "90.0% (80.0% to 95.0%)" in table


def test_versions_can_be_read_in_a_narrow_terminal(
    web: Running, web_settings: Settings, project: Project
) -> None:
    verdict = "worse beyond chance: right on 88.0% of 1,234 images, the served version on 91.0%"
    with web.store.database.read() as db:
        newest = list_versions(db, project.id)[0]
    whole = {"accuracy": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 40}}
    web.store.database.write(
        lambda db: change_version(
            db, newest.id, status="candidate", labels=123456, verdict=verdict, metrics=whole
        )
    )
    shown = command(web_settings, "versions", "--project", str(LS_ID), columns=80).stdout
    heading, first, *below = shown.splitlines()
    assert heading.split() == ["version", "status", "labels", "accuracy", "made"]
    assert first.startswith("apprentice v2  candidate  123456  100.0% (100.0% to 100.0%)  20")
    assert len(first) <= 80
    assert all(line.startswith("    ") for line in below[:2])
    assert " ".join(" ".join(below[:2]).split()) == f"head: {verdict}"


def test_a_misspelt_field_is_refused(web: Running, project: Project) -> None:
    base = f"/api/v1/projects/{project.id}"
    for path in ("rollback", "promote", "train"):
        answer = web.post(f"{base}/{path}", {"versoin": "v1"})
        assert answer.status_code == 400
        assert "versoin" in answer.json()["error"]
    for path, body in (("goal", {"acuracy": 0.9}), ("backbone", {"name": "timm:resnet18"})):
        assert web.http.put(f"{base}/{path}", json=body).status_code == 400
    assert web.http.put(f"{base}/backbone", json={}).status_code == 400
    form = web.http.post(f"{base}/train", content=b"{}", headers={"Content-Type": "text/plain"})
    assert form.status_code == 415
    assert "application/json" in form.json()["error"]
    assert pending(web, project) == []


def test_the_api_rolls_back_and_promotes(web: Running, project: Project) -> None:
    answer = web.post(f"/api/v1/projects/{project.id}/rollback", {})
    assert answer.json() == {"version": "apprentice v1", "held": True}
    with web.store.database.read() as db:
        held = get_project(db, project.id)
    assert held is not None
    assert held.held_at is not None
    assert web.http.get(f"/api/v1/projects/{project.id}").json()["held"] is True
    assert "Pinned by a rollback" in web.http.get("/", headers={"Accept": "text/html"}).text
    assert {reason for _, reason in pending(web, project)} <= {"version", "refresh"}
    answer = web.post(f"/api/v1/projects/{project.id}/promote", {"version": "v2"})
    assert answer.json() == {"version": "apprentice v2", "held": False}
    with web.store.database.read() as db:
        free = get_project(db, project.id)
    assert free is not None
    assert free.held_at is None


def test_what_cannot_be_served_is_refused_in_words(web: Running, project: Project) -> None:
    answer = web.post(f"/api/v1/projects/{project.id}/rollback", {"version": "v7"})
    assert answer.status_code == 409
    assert "no version 'v7'" in answer.json()["error"]
    assert web.post("/api/v1/projects/99/promote", {}).status_code == 404
    # A page of another site could send this one without asking first.
    foreign = web.http.post(
        f"/api/v1/projects/{project.id}/rollback",
        content="{}",
        headers={"Content-Type": "text/plain"},
    )
    assert foreign.status_code == 415
    assert pending(web, project) == []


def test_the_command_line_rolls_back(
    web: Running, web_settings: Settings, project: Project
) -> None:
    done = command(web_settings, "rollback", "--project", str(LS_ID))
    assert done.returncode == 0, done.stderr
    assert "apprentice v1 is on its way" in done.stdout
    shown = command(web_settings, "status", "--project", str(LS_ID)).stdout
    assert "pinned: newer ones wait for" in shown
    again = command(web_settings, "promote", "apprentice v2", "-p", str(LS_ID), "--json")
    assert json.loads(again.stdout) == {"version": "apprentice v2", "held": False}
    wrong = command(web_settings, "rollback", "v9", "--project", str(LS_ID))
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("apprentice: there is no version 'v9'")
