"""A project of tasks with several images each, of synthetic embeddings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from store.predictions.publications import PredictionItem, next_chunk, pending_publications
from store.projects.projects import change_project, save_project
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from store.tasks.units import unit_of
from store.versions.versions import Version, newest_version
from tests.support.workbench import CLASSES, SPACE, Workbench, region

IMAGES = 3  # of each task
TASKS = 80
OPTIONS = "".join(f'<Choice value="{name}"/>' for name in CLASSES)
EACH = f'<Choices name="kind" toName="image" perItem="true">{OPTIONS}</Choices>'
ALL = f'<Choices name="most" toName="image">{OPTIONS}</Choices>'


@dataclass
class Several(Workbench):
    """A project of tasks with three images each; `kinds` are {unit: class} of these."""

    kinds: dict[int, str]

    def configure(self, tags: str) -> None:
        xml = f'<View><Image name="image" valueList="$images"/>{tags}</View>'
        self.store.database.write(lambda db: change_project(db, self.project_id, label_config=xml))

    def regions(self, task: int, items: range = range(IMAGES)) -> list[dict[str, Any]]:
        return [
            region("kind", "choices", [self.kinds[unit_of(task, item)]]) | {"item_index": item}
            for item in items
        ]

    def label(self, tasks: range, *, at: float = 1.0) -> None:
        """All images of these tasks."""
        self.submit({task: self.regions(task) for task in tasks}, at=at)

    def learn(self) -> Version:
        self.run("learn")
        with self.store.database.read() as db:
            version = newest_version(db, self.project_id)
        assert version is not None
        return version

    def items(self) -> dict[int, PredictionItem]:
        """{task: what is to be pushed for it}."""
        with self.store.database.read() as db:
            pushed = [
                item
                for one in pending_publications(db, self.project_id)
                if (chunk := next_chunk(db, one.id)) is not None
                for item in chunk.items
            ]
        assert len({item.task for item in pushed}) == len(pushed), "once each"
        return {item.task: item for item in pushed}

    def show(self, task: int, *uris: str | None) -> None:
        """Have the task show these images from now on."""
        record = TaskRecord(task, {"images": list(uris)}, uris[0], 1.0, uris[1:])
        self.store.database.write(lambda db: save_tasks(db, self.project_id, [record]))


def uri(task: int, item: int) -> str:
    return f"/{task}/{item}"


def make_several(workbench: Workbench) -> Several:
    """Tasks with three images each, all embedded and none labelled."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(3, 32)) * 2
    units = [unit_of(task, item) for task in range(1, TASKS + 1) for item in range(IMAGES)]
    kind = {unit: int(rng.integers(3)) for unit in units}
    store = workbench.store
    store.embeddings.put(
        SPACE,
        {
            f"series{unit}": (centres[kind[unit]] + rng.normal(size=32)).astype(np.float16)
            for unit in units
        },
    )

    def write(db: Connection) -> int:
        project = save_project(db, "default", 2, 2000, title="Series", label_config="")
        change_project(db, project.id, embedding_space=SPACE)
        records = []
        for task in range(1, TASKS + 1):
            uris = [uri(task, item) for item in range(IMAGES)]
            records.append(TaskRecord(task, {"images": uris}, uris[0], 1.0, tuple(uris[1:])))
        save_tasks(db, project.id, records)
        mark_embedded(db, project.id, SPACE, {unit: f"series{unit}" for unit in units})
        return project.id

    kinds = {unit: CLASSES[number] for unit, number in kind.items()}
    bench = Several(store, store.database.write(write), {}, kinds)
    bench.configure(EACH)
    return bench


def right(bench: Several, items: dict[int, PredictionItem]) -> float:
    """The share of suggested regions that are right."""
    said = [
        one["value"]["choices"][0] == bench.kinds[unit_of(task, one["item_index"])]
        for task, item in items.items()
        for one in item.result
    ]
    return float(np.mean(said))
