"""A store with a project of embedded, synthetic images: what the jobs see, without the waiting."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from store import work
from store.annotations import AnnotationRecord, save_annotations
from store.connections import DEFAULT, save_connection
from store.projects import Project, change_project, get_project, save_project
from store.runtime import tell
from store.settings import Settings
from store.store import Store
from store.tasks import TaskRecord, mark_embedded, save_tasks

SPACE = "test:tiny@float32"
CLASSES = ("cat", "dog", "fox")
CONFIG = """<View><Image name="image" value="$image"/>
<Choices name="kind" toName="image">{}</Choices></View>"""


def label_config(classes: tuple[str, ...] = CLASSES) -> str:
    return CONFIG.format("".join(f'<Choice value="{name}"/>' for name in classes))


@dataclass
class Workbench:
    """A project whose images fall into three clusters; `truth` is {task: class}."""

    store: Store
    project_id: int
    truth: dict[int, str]

    @property
    def project(self) -> Project:
        with self.store.database.read() as db:
            project = get_project(db, self.project_id)
        assert project is not None
        return project

    def annotate(self, labels: dict[int, str], *, at: float = 1.0, **more: bool) -> None:
        records = [
            AnnotationRecord(
                ls_id=task,
                task_ls_id=task,
                created_at=1.0,
                updated_at=at,
                result=[
                    {
                        "from_name": "kind",
                        "to_name": "image",
                        "type": "choices",
                        "value": {"choices": [name]},
                    }
                ],
                **more,
            )
            for task, name in labels.items()
        ]

        def write(db):
            save_annotations(db, self.project_id, records)
            for _ in records:
                work.want(db, self.project_id, "learn")

        self.store.database.write(write)

    def tasks_of(self, name: str, count: int) -> dict[int, str]:
        chosen = [task for task, truth in self.truth.items() if truth == name][:count]
        return dict.fromkeys(chosen, name)

    def run(self, kind: str) -> None:
        """Run a job as a worker would, in this process."""
        from importlib import import_module

        def prepare(db):
            work.want(db, self.project_id, kind)
            item = work.get_work(db, self.project_id, kind)
            assert item is not None
            return work.next_generation(db, item)

        generation = self.store.database.write(prepare)
        import_module(f"worker.jobs.{kind}").run(self.project_id, generation)


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    for name in [name for name in os.environ if name.startswith(("APPRENTICE_", "LABEL_STUDIO"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("APPRENTICE_HOME", str(tmp_path))
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
        tell(db, "embedding_space", SPACE)
        records = [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0) for task in truth]
        save_tasks(db, project.id, records)
        mark_embedded(db, project.id, SPACE, {task: f"image{task}" for task in truth})
        return project.id

    yield Workbench(store, store.database.write(write), truth)
    store.close()
