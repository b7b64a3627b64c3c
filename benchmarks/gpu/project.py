"""A project of drawn images, and the workers that embed and fine-tune it through RQ."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from backend.scheduler import Scheduler
from benchmarks.gpu.images import CLASSES, data_uri
from services.versions.training_requests import TrainingKind, cancel, request_training
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import Project, change_project, get_project, save_project
from store.settings import Settings
from store.store import Store
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import TaskRecord, list_tasks, save_tasks
from store.work import pending_work
from store.work.jobs import Job, list_jobs
from store.work.work_kind import WorkKind
from worker.queues.broker import redis_from_url, running_broker

CONFIG = """<View><Image name="image" value="$image"/>
<Choices name="kind" toName="image">{}</Choices></View>"""
POLL_SECONDS = 0.1


class WaitedInVainError(Exception):
    """What the benchmark waits for did not happen."""


@dataclass
class Bench:
    """A store, its project and workers for embedding and fine-tuning."""

    store: Store
    project_id: int
    logs: Path
    patience: float  # seconds to wait for anything

    @property
    def project(self) -> Project:
        """The project as it is now."""
        with self.store.database.read() as db:
            project = get_project(db, self.project_id)
        assert project is not None
        return project

    def add_images(self, jpegs: list[bytes]) -> None:
        """Store a task for each image, and ask for their embeddings."""
        records = [
            TaskRecord(number + 1, {"image": uri}, uri, 1.0)
            for number, uri in enumerate(map(data_uri, jpegs))
        ]

        def write(db: Connection) -> None:
            save_tasks(db, self.project_id, records)
            pending_work.want(db, self.project_id, WorkKind.EMBED)

        self.store.database.write(write)

    def add_labels(self, labels: list[int]) -> None:
        """Label the first images."""
        records = [
            AnnotationRecord(
                ls_id=number + 1,
                task_ls_id=number + 1,
                created_at=1.0,
                updated_at=1.0,
                result=[_region(CLASSES[label])],
            )
            for number, label in enumerate(labels)
        ]
        self.store.database.write(lambda db: save_annotations(db, self.project_id, records))

    def embedded(self) -> int:
        """How many images have an embedding."""
        with self.store.database.read() as db:
            return sum(task.image_key is not None for task in list_tasks(db, self.project_id))

    def embeddings(self) -> NDArray[np.float16]:
        """The stored embeddings [N, D], in the images' order."""
        space = self.project.embedding_space
        assert space is not None
        with self.store.database.read() as db:
            keys = [task.image_key for task in list_tasks(db, self.project_id)]
        vectors = self.store.embeddings.get(space, [key for key in keys if key is not None])
        return np.stack([vectors[key] for key in keys if key is not None])

    def finetune(self) -> None:
        """Ask for a fine-tuning."""
        self.store.database.write(
            lambda db: request_training(db, self.project_id, TrainingKind.FINETUNE)
        )

    def cancel(self) -> None:
        """Cancel the fine-tuning under way."""
        self.store.database.write(lambda db: cancel(db, self.project_id))

    def finetuning(self) -> Job | None:
        """The newest fine-tuning job."""
        with self.store.database.read() as db:
            jobs = [job for job in list_jobs(db, self.project_id, 100) if job.kind == "finetune"]
        return max(jobs, key=lambda job: job.generation, default=None)

    def wait(self, done: Callable[[], bool], what: str) -> float:
        """Look again and again until it is so; returns the seconds that took."""
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > self.patience:
                ends = [path.read_text()[-1500:] for path in sorted(self.logs.glob("*.log"))]
                raise WaitedInVainError(
                    "\n".join([f"not within {self.patience:.0f} s: {what}", *ends])
                )
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began


def _region(label: str) -> dict[str, Any]:
    value = {"choices": [label]}
    return {"from_name": "kind", "to_name": "image", "type": "choices", "value": value}


@contextlib.contextmanager
def running_bench(home: Path, device: str, *, patience: float) -> Iterator[Bench]:
    """A broker, a scheduler and the two workers, until the `with` block ends."""
    with running_broker(home) as url, contextlib.ExitStack() as stack:
        settings = Settings(home=home, redis_url=url, device=device, finetune="manual")
        store = Store.open(settings, migrate=True)
        stack.callback(store.close)
        environment = os.environ | {
            "APPRENTICE_HOME": str(home),
            "APPRENTICE_REDIS_URL": url,
            "APPRENTICE_DEVICE": device,
            "APPRENTICE_FINETUNE": "manual",
        }
        for queue in ("embed", "finetune"):
            log = stack.enter_context((home / f"{queue}.log").open("wb"))
            worker = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", "worker", queue],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(worker.wait)
            stack.callback(worker.terminate)
        redis = redis_from_url(url)
        stack.callback(redis.close)
        project = store.database.write(_new_project)
        scheduler = Scheduler(store, redis)
        scheduler.start()
        stack.callback(scheduler.stop)
        yield Bench(store, project.id, home, patience)


def _new_project(db: Connection) -> Project:
    save_connection(db, DEFAULT, "http://127.0.0.1:1", "token")
    choices = "".join(f'<Choice value="{name}"/>' for name in CLASSES)
    project = save_project(db, DEFAULT, 1, 1, title="gpu", label_config=CONFIG.format(choices))
    now = time.time() + 1e6  # there is no Label Studio to reconcile with
    change_project(db, project.id, connected_at=now, reconciled_at=now)
    return project
