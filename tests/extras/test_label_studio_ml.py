"""The same requests to label-studio-ml's own server and to us, with the same model: same answers.

Theirs is 1.0.9, the newest on PyPI, in `.venv-label-studio-ml` (`make test-extras`); ours hosts the
model as a guest in that very environment. What differs is in `DIFFERENCES`, with the reason.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from store.settings import Settings
from tests.support.guests import FOLDER, OLDER, TEXT, guests_running, until, until_ready
from tests.support.web import LS_ID, UID, Running, add_project, running

PYTHON = Path(__file__).parents[2] / ".venv-label-studio-ml" / "bin" / "python"
SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from label_studio_ml.api import init_app
from older import MostFrequent
init_app(MostFrequent, model_dir=sys.argv[2]).run("127.0.0.1", int(sys.argv[3]))
"""
TASKS = [{"id": n, "data": {"text": f"text {n}"}, "project": LS_ID} for n in (1, 2, 3)]
PREDICT = {"tasks": TASKS, "project": UID, "label_config": TEXT, "params": {}}
CONTEXT = {"result": [{"from_name": "tone", "type": "choices", "value": {"choices": ["bad"]}}]}
ANNOTATION = {"project": {"id": LS_ID, "label_config": TEXT}, "annotation": {}, "task": {}}

# {endpoint: (what theirs answers, what ours answers, why)}
DIFFERENCES = {
    "GET /health": ("model_dir, v2 beside status", "status alone", "no path is told to strangers"),
    "POST /setup": ("INITIAL", "apprentice v0", "the version that Label Studio is pushed"),
    "POST /predict": (
        "one model_version, and the model's score",
        "a model_version and a score each",
        "Label Studio reads them there, and orders tasks by the score",
    ),
    "POST /webhook": (
        "201, job_id: it trains now",
        "401 without our secret",
        "anybody could train",
    ),
    "POST /webhook, START_TRAINING": ("201, job_id", "200, job", "Label Studio reads `job`"),
    "POST /train": ("500 or {}: it trains in the request", "201, job", "training is a job"),
    "POST /versions": ("versions, model_dir, v2", "versions", "no path is told to strangers"),
    "POST /job_status": ("404", "410 for an unknown job", "as older servers of 2.x's line answer"),
    "GET /is_training": ("is_training", "404", "no Label Studio calls it"),
    "GET /metrics": ("{}", "Prometheus's text", "there is something to tell"),
    "malformed": ("500 with a traceback", "400 with a sentence", "nobody learns our paths"),
}


@dataclass
class Both:
    theirs: httpx.Client
    ours: Running

    def get(self, path: str) -> tuple[httpx.Response, httpx.Response]:
        return self.theirs.get(path), self.ours.http.get(path)

    def post(self, path: str, body: Any) -> tuple[httpx.Response, httpx.Response]:
        return self.theirs.post(path, json=body), self.ours.http.post(path, json=body)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("label-studio-ml")
    settings = Settings(
        home=folder / "home",
        redis_url="redis://localhost:1",
        guests=OLDER,
        guest_python=str(PYTHON),
        blind_share=0,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LABEL_STUDIO_ML_BACKEND_V2": "true", "PYTHONPATH": ""}
    argv = [str(PYTHON), "-c", SERVER, str(FOLDER), str(folder / "models"), str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
    try:
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as theirs,
            running(settings) as ours,
            guests_running(ours.store) as guests,
        ):
            until(lambda: _answers(theirs))
            until_ready(guests)
            add_project(ours.store, TEXT)
            yield Both(theirs, ours)
    finally:
        server.kill()
        server.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        time.sleep(0.1)
        return False


def test_health(both: Both) -> None:
    for path in ("/health", "/"):
        theirs, ours = both.get(path)
        assert (theirs.status_code, ours.status_code) == (200, 200)
        assert theirs.json()["status"] == ours.json()["status"] == "UP"


def test_setup(both: Both) -> None:
    body = {"project": UID, "schema": TEXT, "hostname": "", "access_token": ""}
    theirs, ours = both.post("/setup", body)
    assert (theirs.status_code, ours.status_code) == (200, 200)
    assert theirs.json().keys() == ours.json().keys() == {"model_version"}
    answers = (theirs.json()["model_version"], ours.json()["model_version"])
    assert answers == DIFFERENCES["POST /setup"][:2]


def test_predict(both: Both) -> None:
    test_setup(both)
    theirs, ours = both.post("/predict", PREDICT)
    assert (theirs.status_code, ours.status_code) == (200, 200)
    results = [[entry["result"] for entry in each.json()["results"]] for each in (theirs, ours)]
    assert results[0] == results[1]
    assert len(results[0]) == len(TASKS)
    assert all(result[0]["value"] == {"choices": ["good"]} for result in results[1])
    assert {entry["model_version"] for entry in ours.json()["results"]} == {"apprentice v0"}


def test_predict_for_a_smart_tool(both: Both) -> None:
    test_setup(both)
    body = {**PREDICT, "tasks": TASKS[:1], "params": {"context": CONTEXT}}
    theirs, ours = both.post("/predict", body)
    [of_theirs], [of_ours] = theirs.json()["results"], ours.json()["results"]
    assert of_theirs["result"] == of_ours["result"]
    assert isinstance(of_ours, dict)


def test_webhook(both: Both) -> None:
    theirs, ours = both.post("/webhook", {"action": "ANNOTATION_CREATED", **ANNOTATION})
    assert (theirs.status_code, ours.status_code) == (201, 401)
    theirs, ours = both.post("/webhook", {"action": "START_TRAINING", **ANNOTATION})
    assert (theirs.status_code, ours.status_code) == (201, 200)
    assert theirs.json().keys() == {"job_id"}
    assert ours.json().keys() == {"job"}


def test_versions(both: Both) -> None:
    theirs, ours = both.post("/versions", {"project": UID})
    assert (theirs.status_code, ours.status_code) == (200, 200)
    assert isinstance(theirs.json()["versions"], list)
    assert isinstance(ours.json()["versions"], list)
    assert ours.json().keys() == {"versions"}


def test_train_and_job_status(both: Both) -> None:
    body = {"annotations": [{"id": 1}], "project": UID, "label_config": TEXT, "params": {}}
    theirs, ours = both.post("/train", body)
    assert theirs.status_code in {201, 500}
    assert (ours.status_code, ours.json().keys()) == (201, {"job"})
    theirs, of_known = both.post("/job_status", ours.json())
    assert (theirs.status_code, of_known.status_code) == (404, 200)
    assert of_known.json()["job_status"] in {"queued", "started", "finished"}
    assert both.post("/job_status", {"job": "unknown"})[1].status_code == 410


def test_the_rest(both: Both) -> None:
    theirs, ours = both.get("/is_training")
    assert (theirs.status_code, ours.status_code) == (200, 404)
    theirs, ours = both.get("/metrics")
    assert theirs.json() == {}
    assert "apprentice_" in ours.text
    theirs, ours = both.post("/predict", [])
    assert (theirs.status_code, ours.status_code) == (500, 400)
    assert "Traceback" in theirs.text
    assert "Traceback" not in ours.text


def test_every_endpoint_of_theirs_is_compared() -> None:
    script = (
        "from label_studio_ml.api import _server\n"
        "print(*sorted({str(rule) for rule in _server.url_map.iter_rules()}))"
    )
    listed = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True)
    endpoints = {path for path in listed.stdout.split() if not path.startswith("/static")}
    assert endpoints == {
        "/",
        "/health",
        "/is_training",
        "/metrics",
        "/predict",
        "/setup",
        "/train",
        "/versions",
        "/webhook",
    }
