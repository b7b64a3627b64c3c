"""What can't be used, and renames: by the API, the page, the metrics and the command line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from store.projects.projects import Project, change_project
from store.settings import Settings
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import mark_broken
from tests.support.web import LS_ID, Running, add_tasks
from tests.support.workbench import label_config, region

GONE = "Label Studio answers 404 for the image"
LOST = "3 labels name classes that the config no longer has: box"


@pytest.fixture
def troubled(web: Running, project: Project) -> Project:
    """The project with three labels of a class that is gone, and two images that are."""
    add_tasks(web.store, project, range(1, 11), embedded=True)
    box = [region("kind", "choices", ["box"])]
    records = [AnnotationRecord(task, task, 1.0, 1.0, box) for task in (1, 2, 3)]

    def write(db: Any) -> None:
        change_project(db, project.id, label_config=label_config(("cat", "dog")))
        save_annotations(db, project.id, records)
        mark_broken(db, project.id, {8: GONE, 9: GONE})

    web.store.database.write(write)
    return project


def command(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments, "--project", str(LS_ID)],
        env={"APPRENTICE_HOME": str(settings.home), "PATH": "/usr/bin", "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def test_every_place_says_what_can_not_be_used(web: Running, troubled: Project) -> None:
    status = web.http.get(f"/api/v1/projects/{troubled.id}").json()
    assert [each["count"] for each in status["problems"]] == [3, 2]
    sentences = [each["sentence"] for each in status["problems"]]
    assert sentences[0].startswith(f"{LOST} (task 1, …)")
    assert sentences[1].startswith(f"2 images can't be used: 2 × {GONE} (task 8, …)")
    assert status["reason"] == sentences[0]
    page = web.http.get("/", headers={"Accept": "text/html"}).text
    assert LOST in page
    assert f"2 × {GONE}" in page
    assert "label a few tasks" not in page
    metrics = web.http.get("/metrics").text
    (line,) = [each for each in metrics.splitlines() if GONE in each]
    assert line.startswith("apprentice_problems{")
    assert line.endswith(" 2.0")
    shown = command(web.store.settings, "status").stdout
    assert LOST in shown
    assert GONE in shown


def test_a_class_is_renamed_and_back_by_the_api(web: Running, troubled: Project) -> None:
    url = f"/api/v1/projects/{troubled.id}/renames"
    unknown = {"control": "kind", "name": "box", "labels": 3, "suggestion": None}
    assert web.http.get(url).json() == {"renames": [], "unknown": [unknown]}
    change = {"control": "kind", "old": "box", "new": "cat"}
    answer = web.http.put(url, json={"old": "box", "new": "cat"})
    assert (answer.status_code, answer.json()) == (200, change)
    assert web.http.get(url).json() == {"renames": [change], "unknown": []}
    status = web.http.get(f"/api/v1/projects/{troubled.id}").json()
    assert status["labels"] == 3
    assert web.http.put(url, json={"old": "box", "new": None}).status_code == 200
    assert web.http.get(url).json() == {"renames": [], "unknown": [unknown]}
    refused = web.http.put(url, json={"old": "box", "new": "cow"})
    assert refused.status_code == 409
    assert "kind has no class 'cow'" in refused.text
    assert web.http.put(url, json={"new": "cow"}).status_code in (400, 422)


def test_a_class_is_renamed_and_back_by_the_command(web: Running, troubled: Project) -> None:
    settings = web.store.settings
    assert "3 labels name box in kind" in command(settings, "rename").stdout
    assert "count as cat" in command(settings, "rename", "box", "cat").stdout
    listed = json.loads(command(settings, "rename", "--json").stdout)
    assert listed == {
        "renames": [{"control": "kind", "old": "box", "new": "cat"}],
        "unknown": [],
    }
    refused = command(settings, "rename", "cat", "dog")
    assert refused.returncode != 0
    assert "the config still has 'cat'" in refused.stderr
    assert command(settings, "rename", "box").returncode == 2
    assert "as they are written" in command(settings, "rename", "box", "--undo").stdout
