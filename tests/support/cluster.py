"""Several web processes and embedding workers with homes of their own, and one of each server."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from sqlalchemy import Connection, select, text

from store.database.shard_schema import embedding_shard
from store.projects.connections import DEFAULT, save_connection
from store.projects.embedding_spaces import adopt_space
from store.projects.key_values import EMBED_WORKERS
from store.projects.projects import save_project
from store.settings import Settings
from store.store import Store
from store.tasks.shards import claiming_jobs, shard_progress
from store.tasks.tasks import TaskRecord, count_tasks, save_tasks
from store.work import pending_work
from store.work.jobs import list_jobs
from store.work.work_kind import WorkKind
from tests.support import cluster_worker
from tests.support.image_server import Images, jpeg
from tests.support.processes import OWN, clean_environment, free_port
from worker.queues.broker import broker_address, redis_from_url
from worker.supervision.parent_death import ParentDeathGuard

LABEL_CONFIG = """<View><Image name="image" value="$image"/>
<Choices name="kind" toName="image"><Choice value="a"/><Choice value="b"/></Choices></View>"""
BATCH = 1000
# Counts each time a shard becomes done, apart from the program that marks it.
LOG_DONE = """
CREATE TABLE shard_log (number integer, worker text);
CREATE FUNCTION log_shard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.done_at IS DISTINCT FROM OLD.done_at THEN
    INSERT INTO shard_log VALUES (NEW.number, NEW.done_by);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER log_shard AFTER UPDATE ON embedding_shard
  FOR EACH ROW EXECUTE FUNCTION log_shard();
"""


@dataclass
class Cluster:
    """The processes, by name, and a store beside them to look with."""

    folder: Path
    environment: Mapping[str, str]
    store: Store
    redis: Redis
    images: Images
    project_id: int = 0
    processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    guard: ParentDeathGuard = field(default_factory=ParentDeathGuard)

    @classmethod
    def make(cls, folder: Path, environment: Mapping[str, str]) -> "Cluster":
        """Make the tables and a project without images.

        Args:
            folder: of the homes and logs.
            environment: says where PostgreSQL, Redis and the models' folder are.
        """
        before = dict(os.environ)
        with clean_environment():
            os.environ.update(environment)
            try:
                settings = Settings(home=folder / "beside")
                store = Store.open(settings, migrate=True)
            finally:
                for name in environment.keys() - before.keys():
                    del os.environ[name]
        redis = redis_from_url(broker_address(settings))
        gate = folder / "gate"
        gate.touch()
        more = {cluster_worker.GATE: str(gate)}
        cluster = cls(folder, environment | more, store, redis, Images())

        def write(db: Connection) -> int:
            save_connection(db, DEFAULT, cluster.images.url, "0" * 40)
            project = save_project(db, DEFAULT, 1, 1000, title="Many", label_config=LABEL_CONFIG)
            adopt_space(db, project.id, "small:a", cluster_worker.SPACE)
            db.execute(text(LOG_DONE))
            return project.id

        cluster.project_id = store.database.write(write)
        return cluster

    def add_images(self, count: int) -> None:
        """Give the project that many images, each another one, and have them embedded."""
        pictures = [jpeg(seed, (32, 24)) for seed in range(20)]
        uris = {n: f"/{n}.jpg" for n in range(1, count + 1)}
        self.images.files |= {
            uri: pictures[n % len(pictures)] + str(n).encode() for n, uri in uris.items()
        }
        records = [
            TaskRecord(n, {"image": self.images.url + uri}, self.images.url + uri, 1.0)
            for n, uri in uris.items()
        ]
        for start in range(0, count, BATCH):
            part = records[start : start + BATCH]
            self.store.database.write(lambda db, part=part: save_tasks(db, self.project_id, part))
        self.store.database.write(lambda db: pending_work.want(db, self.project_id, WorkKind.EMBED))

    def start(self, name: str, *command: str) -> None:
        """Start `apprentice COMMAND` with a home of its own, or a worker without a command."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        arguments = ["-m", "backend.cli", *command] if command else [cluster_worker.__file__]
        others = {key: value for key, value in os.environ.items() if not key.startswith(OWN)}
        own = {"APPRENTICE_HOME": str(home), "APPRENTICE_PORT": str(free_port())}
        with (home / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.guard.command([sys.executable, *arguments]),
                env=others | self.environment | own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self.guard.pass_fds,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Kill a process and what it has forked, at once."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @contextlib.contextmanager
    def embedding_held(self) -> Iterator[None]:
        """Hold each worker before its next batch, with the shards that it has claimed."""
        with Path(self.environment[cluster_worker.GATE]).open() as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def workers(self) -> int:
        """How many embedding workers the scheduler has counted."""
        with self.store.database.read() as db:
            return EMBED_WORKERS.get(db) or 0

    def claiming(self) -> list[str]:
        """The jobs that have claimed shards and not done them."""
        with self.store.database.read() as db:
            return claiming_jobs(db, self.project_id)

    def shards_left(self) -> int:
        """How many shards aren't done."""
        with self.store.database.read() as db:
            progress = shard_progress(db, self.project_id).get(self.project_id)
        return progress.left if progress else 0

    def shards(self) -> int:
        """How many shards there are."""
        with self.store.database.read() as db:
            return len(db.execute(select(embedding_shard.c.number)).all())

    def done(self) -> list[tuple[int, str]]:
        """(number, worker) of each time that a shard became done."""
        with self.store.database.read() as db:
            rows = db.execute(text("SELECT number, worker FROM shard_log")).all()
        return [(row.number, row.worker) for row in rows]

    def embedded(self) -> int:
        """How many images have an embedding."""
        with self.store.database.read() as db:
            return count_tasks(db, self.project_id, cluster_worker.SPACE).embedded

    def shares(self) -> dict[str, float]:
        """{worker: its part of all shards, where 1 is an equal one}."""
        counted = Counter(worker for _, worker in self.done())
        return {worker: n * len(counted) / counted.total() for worker, n in counted.items()}

    def jobs_at_once(self, kind: str) -> int:
        """The most jobs of a kind that were under way at the same time, as the table says."""
        with self.store.database.read() as db:
            jobs = [job for job in list_jobs(db, self.project_id, 1000) if job.kind == kind]
        begun = [job for job in jobs if job.started_at is not None]
        return max(
            (
                sum(
                    other.started_at <= job.started_at < (other.ended_at or float("inf"))
                    for other in begun
                )
                for job in begun
            ),
            default=0,
        )

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {log.parent.name}\n{log.read_text()[-2000:]}"
            for log in sorted(self.folder.glob("*/log"))
        )

    def close(self) -> None:
        """Kill everything."""
        for name in list(self.processes):
            self.kill(name)
        self.guard.close()
        self.images.close()
        self.redis.close()
        self.store.close()
