"""Shards: each image in one, each done once, whoever claims it and whoever comes late."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.projects.projects import Project
from store.store import Store
from store.tasks.embedding_queue import tasks_to_embed_between
from store.tasks.shards import (
    Shard,
    ShardLostError,
    claim_shard,
    claiming_jobs,
    drop_shards,
    finish_shard,
    plan_shards,
    release_shards,
    shard_progress,
)
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks

SPACE = "a:b@float32"
ROLE = SpaceRole.IN_USE
TASKS = range(1, 101)


@pytest.fixture
def planned(store: Store, project: Project) -> Store:
    def write(db):
        save_tasks(db, project.id, [TaskRecord(n, {}, f"/{n}.png", 1.0) for n in TASKS])
        mark_embedded(db, project.id, SPACE, {n: f"key{n}" for n in range(1, 11)})
        plan_shards(db, project.id, SPACE, ROLE, 7)

    store.database.write(write)
    return store


def claim(store: Store, project: Project, job: str) -> Shard | None:
    return store.database.write(lambda db: claim_shard(db, project.id, SPACE, job))


def finish(store: Store, shard: Shard, worker: str = "worker") -> None:
    store.database.write(lambda db: finish_shard(db, shard, worker))


def left(store: Store, project: Project) -> tuple[int, int]:
    with store.database.read() as db:
        progress = shard_progress(db, project.id).get(project.id)
        return (progress.left, progress.unclaimed) if progress else (0, 0)


def test_every_image_to_embed_is_in_one_shard(planned: Store, project: Project) -> None:
    images: Counter[int] = Counter()
    while (shard := claim(planned, project, "job")) is not None:
        with planned.database.read() as db:
            tasks = tasks_to_embed_between(
                db, project.id, shard.space, shard.role, shard.first_id, shard.last_id
            )
        images.update(task.ls_id for task in tasks)
        finish(planned, shard)
    assert images == Counter(range(11, 101))
    assert left(planned, project) == (0, 0)


def test_claimed_at_the_same_time_each_is_somebodys(planned: Store, project: Project) -> None:
    stores = [Store.open(planned.settings) for _ in range(4)]

    def claim_all(number: int) -> list[int]:
        numbers = []
        while (shard := claim(stores[number], project, f"job{number}")) is not None:
            numbers.append(shard.number)
            finish(stores[number], shard)
        return numbers

    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(claim_all, range(4)))
    for store in stores:
        store.close()
    assert Counter(number for numbers in claimed for number in numbers) == Counter(range(13))


def test_a_worker_that_was_taken_for_dead_finishes_nothing(
    planned: Store, project: Project
) -> None:
    late = claim(planned, project, "first")
    assert late is not None
    with planned.database.read() as db:
        assert claiming_jobs(db, project.id) == ["first"]
    assert planned.database.write(lambda db: release_shards(db, project.id, ["first"])) == 1
    with pytest.raises(ShardLostError):
        finish(planned, late)
    again = claim(planned, project, "second")
    assert again is not None
    assert again.number == late.number
    with pytest.raises(ShardLostError):
        finish(planned, late)
    finish(planned, again)
    with pytest.raises(ShardLostError):
        finish(planned, again)
    assert left(planned, project) == (12, 12)


def test_shards_of_a_plan_that_is_gone_are_lost(planned: Store, project: Project) -> None:
    shard = claim(planned, project, "job")
    assert shard is not None

    def replan(db):
        drop_shards(db, project.id)
        plan_shards(db, project.id, SPACE, ROLE, 50)

    planned.database.write(replan)
    assert left(planned, project) == (2, 2)
    other = claim(planned, project, "other")
    assert other is not None
    assert (other.number, other.fence) == (shard.number, shard.fence)
    with pytest.raises(ShardLostError):
        finish(planned, shard)
