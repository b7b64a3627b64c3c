"""Enqueues jobs that help to embed large projects, one for each further worker of the queue."""

import time

import structlog
from redis import Redis

from store.projects.key_values import EMBED_WORKERS, HELPERS
from store.store import Store
from store.tasks.shards import ShardProgress, claiming_jobs, release_shards, shard_progress
from store.work.jobs import job_id
from store.work.work_kind import WorkKind
from worker.queues.enqueue import enqueue
from worker.queues.job_state import JobState, job_state
from worker.queues.job_types import SHARDS
from worker.queues.worker_registry import live_workers

LOOK_SECONDS = 0.25  # between two looks for new plans
HELP_SECONDS = 1.0  # between two looks at the helpers of a plan
COUNT_SECONDS = 5.0  # between two counts of the workers, while there are none
FAILED_SECONDS = 60.0  # until a helper is tried again after one that failed
PREFIX = f"{SHARDS.name}-"
UNDER_WAY = (JobState.QUEUED, JobState.STARTED)

log = structlog.get_logger()


class EmbeddingHelpers:
    """A part of the scheduler's round."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis
        self._look_at = self._count_at = 0.0  # monotonic
        self._help_at: dict[int, float] = {}  # monotonic, by project with shards
        self._workers = 0
        self._retry_at: dict[int, float] = {}  # monotonic, by project

    def run(self) -> None:
        """Count the workers, give shards of dead helpers to others, and enqueue new helpers."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        with self._store.database.read() as db:
            projects = shard_progress(db)
        due = [project_id for project_id in projects if now >= self._help_at.get(project_id, 0.0)]
        if due or now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self._count_workers()
        for project_id in due:
            self._help(project_id, projects[project_id], self._workers - 1)
        self._help_at = {
            project_id: now + HELP_SECONDS if project_id in due else self._help_at[project_id]
            for project_id in projects
        }

    def _count_workers(self) -> None:
        alive = live_workers(self._redis)
        self._workers = sum(worker.queue == WorkKind.EMBED for worker in alive)
        with self._store.database.read() as db:
            known = EMBED_WORKERS.get(db)
        if self._workers != known:
            self._store.database.write(lambda db: EMBED_WORKERS.set(db, self._workers))

    def _help(self, project_id: int, progress: ShardProgress, most: int) -> None:
        key = HELPERS.of(project_id)
        with self._store.database.read() as db:
            helpers = {self._id(project_id, each): each for each in key.get(db) or ()}
            claiming = [job for job in claiming_jobs(db, project_id) if job.startswith(PREFIX)]
        states = {job: job_state(self._redis, job) for job in {*helpers, *claiming}}
        dead = [job for job in claiming if states[job] not in UNDER_WAY]
        if dead:
            log.warning("helpers lost; others take over their shards", jobs=dead)
            self._store.database.write(lambda db: release_shards(db, project_id, dead))
        if any(states[job] is JobState.FAILED for job in helpers):
            self._retry_at.setdefault(project_id, time.monotonic() + FAILED_SECONDS)
        alive = [number for job, number in helpers.items() if states[job] in UNDER_WAY]
        missing = min(most, progress.unclaimed + len(dead)) - len(alive)
        if missing <= 0 or self._retry_at.get(project_id, 0.0) > time.monotonic():
            return
        self._retry_at.pop(project_id, None)
        first = max(helpers.values(), default=int(time.time())) + 1
        new = list(range(first, first + missing))
        self._store.database.write(lambda db: key.set(db, [*alive, *new]))
        for number in new:
            enqueue(self._redis, SHARDS.name, project_id, number)

    @staticmethod
    def _id(project_id: int, number: int) -> str:
        return job_id(SHARDS.name, project_id, number)
