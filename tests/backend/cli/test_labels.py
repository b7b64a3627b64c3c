"""Annotators' quality and labels to look at again: by the API and the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from store.projects.projects import Project
from store.settings import Settings
from store.versions.label_reviews import (
    ContestedLabel,
    Opinion,
    Rating,
    Review,
    SuspiciousLabel,
    save_review,
)
from tests.support.web import LS_ID, Running, add_tasks

FOUND = Review(
    at=1000.0,
    annotators=[
        Rating("kind", 8, 40, 30, 0.7, 0.75, 0.61),
        Rating("kind", None, 3, 0, None, 1, None),
    ],
    suspicious=[SuspiciousLabel("kind", 3, "cat", 0.011, "dog", 8)],
    contested=[
        ContestedLabel("seen", 4, [Opinion(["a", "[b]"], [7]), Opinion([], [8, None])], ["a"], 0.55)
    ],
)


@pytest.fixture
def reviewed(web: Running, project: Project) -> Project:
    """The project after a learning that looked at its labels."""
    add_tasks(web.store, project, range(1, 11), embedded=True)
    web.store.database.write(lambda db: save_review(db, project.id, FOUND))
    return project


def command(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", "labels", "--project", str(LS_ID), *arguments],
        env={"APPRENTICE_HOME": str(settings.home), "PATH": "/usr/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def test_the_api_tells_what_is_known_of_the_labels(web: Running, reviewed: Project) -> None:
    base = f"/api/v1/projects/{reviewed.id}"
    worst, unknown = web.http.get(f"{base}/annotators").json()
    assert worst == {
        "control": "kind",
        "annotator": 8,
        "labels": 40,
        "shared": 30,
        "agreement": 0.7,
        "expected": 0.75,
        "quality": 0.61,
    }
    assert (unknown["annotator"], unknown["quality"]) == (None, None)
    (suspicious,) = web.http.get(f"{base}/labels/suspicious").json()
    assert (suspicious["task"], suspicious["given"], suspicious["likely"]) == (3, "cat", "dog")
    (contested,) = web.http.get(f"{base}/labels/contested").json()
    assert contested["opinions"][1] == {"label": [], "annotators": [8, None]}


def test_before_the_first_learning_the_lists_are_empty(web: Running, project: Project) -> None:
    base = f"/api/v1/projects/{project.id}"
    for path in ("annotators", "labels/suspicious", "labels/contested"):
        assert web.http.get(f"{base}/{path}").json() == []
    assert web.http.get("/api/v1/projects/99/annotators").status_code == 404


def test_the_command_prints_the_same(
    web: Running, web_settings: Settings, reviewed: Project
) -> None:
    shown = json.loads(command(web_settings, "--json").stdout)
    assert shown["at"] == 1000
    base = f"/api/v1/projects/{reviewed.id}"
    assert shown["annotators"] == web.http.get(f"{base}/annotators").json()
    assert shown["suspicious"] == web.http.get(f"{base}/labels/suspicious").json()
    assert shown["contested"] == web.http.get(f"{base}/labels/contested").json()
    table = command(web_settings).stdout
    for part in ("Probably wrong: 1", "Annotators disagree: 1", "61%", "a, [b] (7)", "unknown"):
        assert part in table


def test_the_command_says_when_nothing_is_known(
    web: Running, web_settings: Settings, project: Project
) -> None:
    assert "Nothing is known yet" in command(web_settings).stdout
