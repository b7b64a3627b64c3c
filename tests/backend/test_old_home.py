"""A data folder of an earlier version opens, serves what it served, and goes on learning.

A folder in `tests/data/home-format-N` is never made again. Its README says how it was made.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis
from sqlalchemy import func, select

from services.suggestions.predictor import Predictor
from store.database.schema import metadata
from store.settings import Settings
from store.store import Store
from store.tasks.tasks import get_tasks
from store.versions.versions import HEAD, REFUSED, find_version, newest_version
from studio.config import parse_label_config
from studio.regions import regions_to_json
from tests.support.serving import serve_newest
from tests.support.web import Running, running
from tests.support.workbench import CLASSES, Workbench, region

DATA = Path(__file__).parents[1] / "data" / "home-format-1"
EXPECTED: dict[str, Any] = json.loads((DATA / "expected.json").read_text())
PETS, SHAPES, SERIES = 1, 2, 3  # projects
CLOSE = {"rel": 1e-3, "abs": 1e-4}  # another processor rounds otherwise
# What a running web process changes, or what depends on the moment.
MOVING = {"jobs", "waiting", "workers", "errors", "reconciled_at", "images_per_second"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the folder."""
    return Path(shutil.copytree(DATA / "home", tmp_path / "home"))


@pytest.fixture
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The folder, opened and brought up to date as the web process does."""
    monkeypatch.setenv("APPRENTICE_HOME", str(home))
    monkeypatch.setenv("APPRENTICE_HEAD", "ridge")
    opened = Store.open(Settings(), migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def web(home: Path, broker_address: str) -> Iterator[Running]:
    """A web process on the folder."""
    with Redis.from_url(broker_address) as redis:
        redis.flushall()
    with running(Settings(home=home, redis_url=broker_address, blind_share=0.1)) as started:
        yield started


def same(found: Any, expected: Any, where: str = "") -> None:
    """Assert that `found` says all that is `expected`; it may say more."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), where
        for name, value in expected.items():
            if name not in MOVING:
                assert name in found, f"{where}.{name}"
                same(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list):
        assert isinstance(found, list), where
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            same(found[index], value, f"{where}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, **CLOSE), where
    else:
        assert found == expected, where


def test_no_row_is_lost(store: Store) -> None:
    with store.database.read() as db:
        counts = {
            name: db.execute(select(func.count()).select_from(metadata.tables[name])).scalar()
            for name in EXPECTED["counts"]
        }
    # Advice is of a version now: project 1's is its newest version's and its served one's.
    assert counts == EXPECTED["counts"] | {"advice": 4}


@pytest.mark.parametrize(
    "expected",
    EXPECTED["versions"],
    ids=lambda version: f"project{version['project']}-v{version['number']}-{version['status']}",
)
def test_each_version_suggests_what_it_suggested(store: Store, expected: dict[str, Any]) -> None:
    bench = Workbench(store, expected["project"], {})
    with store.database.read() as db:
        version = find_version(db, bench.project_id, expected["number"])
        tasks = get_tasks(db, bench.project_id, expected["tasks"])
    assert version is not None
    assert (version.kind, version.status) == (expected["kind"], expected["status"])
    assert version.labels == expected["labels"]
    keys = [str(tasks[task].image_key) for task in expected["tasks"]]
    vectors = store.embeddings.get(version.embedding_space, keys)
    x = np.stack([vectors[key] for key in keys])
    config = parse_label_config(bench.project.label_config)
    suggestions = Predictor.load(store, version).suggest(config, x, 0.0)
    same(
        [
            {"result": regions_to_json(one.result), "confidence": one.confidence}
            for one in suggestions
        ],
        expected["suggestions"],
    )


def test_the_web_process_answers_as_before(web: Running) -> None:
    for asked in EXPECTED["predict"]:
        answer = web.post(asked["path"], asked["body"])
        assert answer.status_code == 200, answer.text
        same(answer.json(), asked["answer"], asked["path"])
    for page, expected in EXPECTED["api"].items():
        answer = web.http.get(f"/api/v1/{page}")
        assert answer.status_code == 200, answer.text
        same(answer.json(), expected, page)


def labels_for(bench: Workbench, tasks: range) -> dict[int, list[dict[str, Any]]]:
    """More annotations of the kind that the project has already, and as right."""
    kinds = {task: CLASSES[task % 3] for task in tasks}
    if bench.project_id == PETS:
        return {task: [region("kind", "choices", [name])] for task, name in kinds.items()}
    if bench.project_id == SERIES:
        return {
            task: [region("kind", "choices", [kinds[task]]) | {"item_index": 0}] for task in tasks
        }
    paths = {"cat": ["pet", "cat"], "dog": ["pet", "dog"], "fox": ["wild", "fox"]}
    tags = {"cat": ["a"], "dog": ["a", "b"], "fox": []}
    space = str(bench.project.embedding_space)
    vectors = bench.store.embeddings.get(space, [f"{task:064x}" for task in tasks])
    return {
        task: [
            region("tree", "taxonomy", [paths[name]]),
            region("stars", "rating", task % 3 + 1),
            region("size", "number", round(float(vectors[f"{task:064x}"][:4].sum()) * 8 + 50, 1)),
            *([region("tags", "choices", tags[name])] if tags[name] else []),
        ]
        for task, name in kinds.items()
    }


@pytest.mark.parametrize(
    ("project", "tasks"),
    [(PETS, range(1, 121)), (SHAPES, range(40, 50)), (SERIES, range(13, 20))],
    ids=["pets", "shapes", "series"],
)
def test_learning_goes_on(store: Store, project: int, tasks: range) -> None:
    bench = Workbench(store, project, {})
    with store.database.read() as db:
        before = newest_version(db, project)
    assert before is not None
    bench.submit(labels_for(bench, tasks), at=2e9, by=20)
    bench.run("learn")
    with store.database.read() as db:
        newest = newest_version(db, project)
    assert newest is not None
    assert newest.number == before.number + 1
    assert (newest.kind, newest.artifact is not None) == (HEAD, True)
    assert newest.status != REFUSED
    assert newest.labels > before.labels
    serve_newest(bench)
    assert bench.project.served_version_id == newest.id
