"""The ledger, similar images and all suggestions: by the API and the command line."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.embedding import similar_images as similar_module
from services.embedding.similar_images import similar, update_index
from services.embedding.similarity_index import extend_index, open_index
from services.suggestions.control_group import in_control_group
from store.predictions.publications import PredictionItem, pending_publications, save_predictions
from store.predictions.shown import suggestions_by_task
from store.projects.projects import Project, find_project
from store.settings import Settings
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.versions.versions import Version
from tests.support.web import (
    LS_ID,
    SPACE,
    Running,
    add_tasks,
    key_of,
    predict_body,
    serve_version,
    task_payload,
    vectors_of,
)

CAT = [{"from_name": "kind", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}]


@pytest.fixture
def served(web: Running, project: Project) -> Version:
    """Thirty embedded tasks, of which two are annotated, and a version that is served."""
    add_tasks(web.store, project, range(1, 31), embedded=True)
    version = serve_version(web.store, project)
    records = [
        AnnotationRecord(
            task, task, 4e9, 4e9, CAT, completed_by=7, lead_time=2.0, parent_prediction=task
        )
        for task in (2, 3)
    ]
    items = [PredictionItem(task, 0.1, CAT) for task in (2, 3)]

    def write(db):
        save_predictions(db, project.id, version.id, items, "pushed")
        save_annotations(db, project.id, records)

    web.store.database.write(write)
    return version


def command(settings: Settings, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", name, "--project", str(LS_ID), *arguments],
        env={"APPRENTICE_HOME": str(settings.home), "PATH": "/usr/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def test_the_ledger_by_api_and_command(
    web: Running, web_settings: Settings, project: Project, served: Version
) -> None:
    ledger = web.http.get(f"/api/v1/projects/{project.id}/ledger").json()
    assert ledger["annotations"] == 2
    assert ledger["total"]["kept"] == 2
    assert ledger["annotators"][0]["annotator"] == 7
    assert ledger["classes"] == [
        {"control": "kind", "name": "cat", "suggested": 2, "kept": 2, "pace": None}
    ]
    assert json.loads(command(web_settings, "ledger", "--json").stdout) == ledger
    assert "100% kept, 0% edited, 0% rejected" in command(web_settings, "ledger").stdout
    assert web.http.get("/api/v1/projects/99/ledger").status_code == 404


def test_similar_images_by_api_and_command(
    web: Running, web_settings: Settings, project: Project, served: Version
) -> None:
    x = vectors_of(range(1, 31)).astype(np.float64)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    order = [int(row) + 1 for row in np.argsort(-(units @ units[4])) if row != 4]
    url = f"/api/v1/projects/{project.id}/similar"
    found = web.http.get(url, params={"task": 5, "k": 4}).json()
    assert [one["task"] for one in found] == order[:4]
    assert found[0]["similarity"] == pytest.approx(float(units[order[0] - 1] @ units[4]), abs=1e-3)
    assert found[0]["data"] == {"image": f"http://images/{order[0]}.jpg"}
    shown = command(web_settings, "similar", "--task", "5", "--count", "4", "--json").stdout
    assert json.loads(shown) == found
    assert len(web.http.get(url, params={"task": 5, "k": 500}).json()) == 29
    assert web.http.get(url, params={"task": 77}).status_code == 409
    assert web.http.get(url, params={"task": "x"}).status_code == 400
    assert web.http.get(url, params={"task": 5, "k": 0}).status_code == 400
    assert "has no task 77" in command(web_settings, "similar", "--task", "77").stderr


def test_a_large_project_is_scanned_in_its_matrix(
    web: Running, project: Project, served: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web.store.database.read() as db:
        project = find_project(db, project.connection_id, project.ls_id)
    whole = similar(web.store, project, 5, 29)
    monkeypatch.setattr(similar_module, "SMALL", 10)
    monkeypatch.setattr(similar_module, "SPARE", 20)
    update_index(web.store, project)
    update_index(web.store, project)
    width = vectors_of([1]).shape[1]
    assert len(open_index(web.store.settings, project.id, SPACE, width).keys) == 30
    assert similar(web.store, project, 5, 29) == whole
    assert similar(web.store, project, 5, 3) == whole[:3]
    keys = [key_of(task) for task in range(1, 31)]
    assert extend_index(web.store, project.id, SPACE, keys) == 0
    # What a killed job leaves behind counts for nothing, and is written over.
    folder = next((web.store.settings.home / "matrices").glob(f"{project.id}-*"))
    with (folder / "codes").open("ab") as file:
        file.write(b"x" * 50)
    add_tasks(web.store, project, range(31, 34), embedded=True)
    update_index(web.store, project)
    assert len(open_index(web.store.settings, project.id, SPACE, width).keys) == 33
    assert {one.task for one in similar(web.store, project, 5, 40)} == {*range(1, 34)} - {5}


def test_apply_writes_a_file_and_has_the_rest_pushed(
    web: Running, web_settings: Settings, project: Project, served: Version, tmp_path: Path
) -> None:
    out = tmp_path / "labels.csv"
    done = command(web_settings, "apply", "--out", str(out))
    assert "apprentice v1: 30 tasks" in done.stdout, done.stderr
    assert "28 predictions are on their way to Label Studio" in done.stdout
    rows = {int(row["task"]): row for row in csv.DictReader(io.StringIO(out.read_text()))}
    assert set(rows) == set(range(1, 31))
    assert (rows[2]["source"], rows[2]["kind"], rows[2]["version"]) == ("annotated", "cat", "")
    assert (rows[4]["source"], rows[4]["kind"], rows[4]["version"]) == (
        "suggested",
        "cat",
        "apprentice v1",
    )
    assert 0.5 <= float(rows[4]["confidence"]) <= 1
    shown = command(web_settings, "apply", "--format", "json", "--min-confidence", "0.6")
    listed = {row["task"]: row for row in json.loads(shown.stdout)}
    assert listed[7]["labels"] == {"kind": "dog"}
    assert "on their way" in shown.stderr


def test_apply_does_nothing_where_its_file_cannot_be_written(
    web: Running, web_settings: Settings, project: Project, served: Version, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "none" / "labels.csv", tmp_path / "file" / "labels.csv"):
        refused = command(web_settings, "apply", "--out", str(out))
        assert refused.returncode == 1
        assert f"{out} can't be written" in refused.stderr
        assert "Traceback" not in refused.stderr
    with web.store.database.read() as db:
        assert pending_publications(db, project.id) == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_blind_task_is_answered_without_a_suggestion(
    web: Running, project: Project, served: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.app.state.app_state.settings, "blind_share", 0.5)
    tasks = list(range(4, 31))
    answered = web.post("/predict", predict_body([task_payload(task) for task in tasks])).json()
    results = dict(zip(tasks, answered["results"], strict=True))
    blind = {task for task in tasks if in_control_group(project, task, 0.5)}
    assert 3 < len(blind) < 24
    assert {task for task in tasks if not results[task]["result"]} == blind
    web.app.state.app_state.store.database.write(
        lambda db: None
    )  # what was submitted before is there
    with web.store.database.read() as db:
        given = suggestions_by_task(db, project.id)
    for task in tasks:
        assert bool(given[task][-1].withheld) == (task in blind)
