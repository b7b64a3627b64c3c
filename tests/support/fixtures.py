"""A store with a project of embedded, synthetic images: what the jobs see, without the waiting."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from store.projects.connections import DEFAULT, save_connection
from store.projects.key_values import EMBEDDING_SPACE
from store.projects.projects import change_project, save_project
from store.settings import Settings
from store.store import Store
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from tests.support.several_images import Several, make_several
from tests.support.workbench import CLASSES, SPACE, Workbench, label_config


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    for name in [name for name in os.environ if name.startswith(("APPRENTICE_", "LABEL_STUDIO"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("APPRENTICE_HOME", str(tmp_path))
    monkeypatch.setenv("APPRENTICE_BLIND_SHARE", "0")
    store = Store.open(Settings(), migrate=True)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 32)) * 2
    truth = {task: CLASSES[task % 3] for task in range(1, 241)}
    vectors = {
        f"image{task}": (centres[task % 3] + rng.normal(size=32)).astype(np.float16)
        for task in truth
    }
    store.embeddings.put(SPACE, vectors)

    def write(db):
        save_connection(db, DEFAULT, "http://localhost:1", "token")
        project = save_project(db, DEFAULT, 1, 1000, title="Pets", label_config=label_config())
        change_project(db, project.id, embedding_space=SPACE)
        EMBEDDING_SPACE.set(db, SPACE)
        records = [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0) for task in truth]
        save_tasks(db, project.id, records)
        mark_embedded(db, project.id, SPACE, {task: f"image{task}" for task in truth})
        return project.id

    yield Workbench(store, store.database.write(write), truth)
    store.close()


@pytest.fixture
def several(workbench: Workbench) -> Several:
    return make_several(workbench)
