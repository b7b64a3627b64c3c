"""Helpers: a job for each further worker of the queue, as soon as shards are planned."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from backend import embedding_helpers
from backend.embedding_helpers import EmbeddingHelpers
from backend.scheduler import INTERVAL
from store.store import Store
from store.tasks.shards import claim_shard, plan_shards, shard_progress
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import TaskRecord, save_tasks
from tests.support.workbench import Workbench
from worker.queues.broker import redis_from_url, running_broker
from worker.queues.enqueue import open_queue
from worker.queues.worker_registry import WorkerInfo

SPACE = "a:b@float32"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with running_broker(tmp_path / "broker-home") as url:
        connection = redis_from_url(url)
        yield connection
        connection.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The scheduler's time, in one element."""
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr(embedding_helpers, "time", clock)
    return now


def workers(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    found = [WorkerInfo(f"embed-{n}", "embed", "host", n, False, None) for n in range(count)]
    others = [WorkerInfo("learn-1", "learn", "host", 1, False, None)]
    monkeypatch.setattr(embedding_helpers, "live_workers", lambda _redis: found + others)


def plan(store: Store, project_id: int, shards: int) -> None:
    tasks = [TaskRecord(10_000 + n, {}, f"/{n}.png", 1.0) for n in range(shards)]

    def write(db):
        save_tasks(db, project_id, tasks)
        plan_shards(db, project_id, SPACE, SpaceRole.IN_USE, 1)

    store.database.write(write)


def unclaimed(bench: Workbench) -> int:
    with bench.store.database.read() as db:
        return shard_progress(db)[bench.project_id].unclaimed


def test_each_further_worker_gets_a_job_as_soon_as_shards_are_planned(
    workbench: Workbench, redis: Redis, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers(monkeypatch, 4)
    helpers = EmbeddingHelpers(workbench.store, redis)
    helpers.run()
    assert open_queue(redis, "embed").job_ids == []
    plan(workbench.store, workbench.project_id, 20)
    clock[0] += INTERVAL
    helpers.run()
    jobs = open_queue(redis, "embed").job_ids
    assert len(jobs) == 3
    for _ in range(10):
        clock[0] += embedding_helpers.HELP_SECONDS
        helpers.run()
    assert open_queue(redis, "embed").job_ids == jobs


def test_shards_of_a_lost_helper_are_free_and_another_one_follows(
    workbench: Workbench, redis: Redis, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers(monkeypatch, 2)
    plan(workbench.store, workbench.project_id, 20)
    free = unclaimed(workbench)
    helpers = EmbeddingHelpers(workbench.store, redis)
    helpers.run()
    queue = open_queue(redis, "embed")
    (lost,) = queue.job_ids
    workbench.store.database.write(lambda db: claim_shard(db, workbench.project_id, SPACE, lost))
    queue.empty()
    clock[0] += embedding_helpers.HELP_SECONDS
    helpers.run()
    assert unclaimed(workbench) == free
    (follower,) = queue.job_ids
    assert follower != lost
