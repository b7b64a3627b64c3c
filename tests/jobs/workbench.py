"""A project of embedded, synthetic images, and jobs that run in the test's own process."""

from dataclasses import dataclass
from importlib import import_module

from store import work
from store.annotations import AnnotationRecord, save_annotations
from store.projects import Project, get_project
from store.store import Store

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

        def prepare(db):
            work.want(db, self.project_id, kind)
            item = work.get_work(db, self.project_id, kind)
            assert item is not None
            return work.next_generation(db, item)

        generation = self.store.database.write(prepare)
        import_module(f"worker.jobs.{kind}").run(self.project_id, generation)
