"""The model for servers of label-studio-ml: it passes requests on to a real Apprentice."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from store.settings import Settings
from tests.support.web import (
    CONFIG,
    LS_ID,
    Running,
    add_project,
    add_tasks,
    running,
    serve_version,
    task_payload,
)

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "worker" / "guests" / "stand_in"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Running]:
    settings = Settings(home=tmp_path / "home", redis_url="redis://localhost:1", blind_share=0)
    with running(settings) as served:
        yield served


@pytest.fixture
def backend(web: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "model"))
    monkeypatch.setenv("APPRENTICE_URL", str(web.http.base_url))
    yield importlib.import_module("label_studio_apprentice.ml_backend")
    for name in [name for name in sys.modules if name.startswith("label_studio_")]:
        if name.split(".")[0] in {"label_studio_ml", "label_studio_apprentice"}:
            del sys.modules[name]


def test_it_suggests_what_apprentice_suggests(web: Running, backend: ModuleType) -> None:
    project = add_project(web.store)
    add_tasks(web.store, project, [1, 2], embedded=True)
    serve_version(web.store, project)
    new = backend.ApprenticeModel(project_id=str(LS_ID), label_config=CONFIG)  # as 2.x makes it
    assert new.get("model_version") == "apprentice v1"
    old = backend.ApprenticeModel(label_config=CONFIG, train_output=None, hostname="")  # 1.0.9
    tasks = [task_payload(1), task_payload(2)]
    for model in (new, old):
        results = model.predict(tasks, login=None, password=None)
        assert [each["result"][0]["value"]["choices"] for each in results] == [["dog"], ["cat"]]
        assert {each["model_version"] for each in results} == {"apprentice v1"}


def test_start_training_reaches_apprentice(web: Running, backend: ModuleType) -> None:
    add_project(web.store)
    model = backend.ApprenticeModel(project_id=str(LS_ID), label_config=CONFIG)
    answer = model.fit("START_TRAINING", {"project": {"id": LS_ID}})
    assert answer["job"].startswith("learn-")
    assert model.fit("ANNOTATION_CREATED", {"project": {"id": LS_ID}}) == {}


def test_no_suggestion_is_an_error_so_that_nothing_is_saved(
    web: Running, backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_project(web.store)
    model = backend.ApprenticeModel(project_id=str(LS_ID), label_config=CONFIG)
    with pytest.raises(backend.ApprenticeError, match="503"):
        model.predict([task_payload(1)])
    monkeypatch.setenv("APPRENTICE_URL", "http://localhost:1")
    with pytest.raises(backend.ApprenticeError, match="doesn't answer"):
        model.predict([task_payload(1)])


def test_it_imports_nothing_of_ours() -> None:
    source = (ROOT / "label_studio_apprentice" / "ml_backend.py").read_text()
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    ours = {"backend", "worker", "services", "studio", "model", "store"}
    assert not {name.split(".")[0] for name in imported} & ours
