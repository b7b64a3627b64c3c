"""A project of embedded, synthetic images, and jobs that run in the test's own process."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from store.projects.projects import Project, change_project, get_project
from store.store import Store
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.work import pending_work
from store.work.jobs import add_job

SPACE = "test:tiny@float32"
CLASSES = ("cat", "dog", "fox")
CONFIG = """<View><Image name="image" value="$image"/>
<Choices name="kind" toName="image">{}</Choices></View>"""


def region(name: str, kind: str, value: Any) -> dict[str, Any]:
    """What an annotation says in one control."""
    return {"from_name": name, "to_name": "image", "type": kind, "value": {kind: value}}


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

    def annotate(
        self, labels: dict[int, str], *, at: float = 1.0, by: int | None = None, **more: bool
    ) -> None:
        results = {task: [region("kind", "choices", [name])] for task, name in labels.items()}
        self.submit(results, at=at, by=by, **more)

    def submit(
        self,
        results: dict[int, list[dict[str, Any]]],
        *,
        at: float = 1.0,
        by: int | None = None,
        **more: bool,
    ) -> None:
        """One annotation a task, with these regions; each annotator has their own."""
        records = [
            AnnotationRecord(
                ls_id=task + 1000 * (by or 0),
                task_ls_id=task,
                created_at=1.0,
                updated_at=at,
                result=result,
                completed_by=by,
                **more,
            )
            for task, result in results.items()
        ]

        def write(db):
            save_annotations(db, self.project_id, records)
            for _ in records:
                pending_work.want(db, self.project_id, "learn")

        self.store.database.write(write)

    def configure(self, tags: str) -> None:
        """Give the project a label config with these control tags on its image."""
        xml = f'<View><Image name="image" value="$image"/>{tags}</View>'
        self.store.database.write(lambda db: change_project(db, self.project_id, label_config=xml))

    def tasks_of(self, name: str, count: int) -> dict[int, str]:
        chosen = [task for task, truth in self.truth.items() if truth == name][:count]
        return dict.fromkeys(chosen, name)

    def run(self, kind: str) -> None:
        """Run a job as a worker would, in this process."""
        self.begin(kind, self.prepare(kind))

    def prepare(self, kind: str) -> int:
        """Enqueue a job, as the scheduler does; its generation."""

        def prepare(db):
            pending_work.want(db, self.project_id, kind)
            item = pending_work.get_work(db, self.project_id, kind)
            assert item is not None
            generation = pending_work.next_generation(db, item)
            add_job(db, self.project_id, kind, generation)
            return generation

        return self.store.database.write(prepare)

    def begin(self, kind: str, generation: int) -> None:
        """Run an enqueued job in this process."""
        import_module(f"worker.jobs.{kind}").run(self.project_id, generation)


def use_small_backbone(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the project on the backbone `small:a`, which PyTorch runs."""
    monkeypatch.setenv("APPRENTICE_BACKBONE", "small:a")
    monkeypatch.setenv("APPRENTICE_PRECISION", "float32")
    monkeypatch.setattr("model.embedding.embedder._open_openvino", lambda *_: None)
    bench.store.settings.backbone = "small:a"
    bench.store.settings.precision = "float32"
