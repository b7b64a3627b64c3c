"""A worker takes no job of a web process that works with another database."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from store.identity import StoreIdentity, create_identity
from store.settings import Settings
from store.store import Store
from tests.support.workshop import Workshop
from worker.queues import store_claim
from worker.queues.enqueue import enqueue, open_queue
from worker.queues.store_claim import (
    ForeignQueuesError,
    StoreCheck,
    claim_queues,
    queues_problem,
    release_queues,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(Settings(home=tmp_path / "web"), migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def redis(workshop: Workshop) -> Redis:
    return workshop.connection


def identity_of(settings: Settings) -> StoreIdentity:
    store = Store.open(settings, migrate=True)
    try:
        return create_identity(store)
    finally:
        store.close()


def test_a_worker_with_the_same_database_works(store: Store, redis: Redis) -> None:
    check = StoreCheck(store.settings)
    assert check.problem(redis) is None, "no web process has said anything yet"
    claim_queues(redis, create_identity(store))
    assert check.problem(redis) is None


def test_another_sqlite_is_refused_and_told_what_to_do(
    store: Store, redis: Redis, tmp_path: Path
) -> None:
    claim_queues(redis, create_identity(store))
    nothing = Settings(home=tmp_path / "nothing")
    problem = StoreCheck(nothing).problem(redis)
    assert not nothing.home.exists()
    for name in ("APPRENTICE_DATABASE_URL", "APPRENTICE_STORAGE_URL", "SQLite", str(nothing.home)):
        assert name in str(problem)
    own = Settings(home=tmp_path / "own")
    identity_of(own)
    assert StoreCheck(own).problem(redis) == str(problem).replace(str(nothing.home), str(own.home))


def test_one_sqlite_file_on_two_machines_is_refused(store: Store, redis: Redis) -> None:
    here = create_identity(store)
    claim_queues(redis, StoreIdentity(here.database, "another-machine"))
    assert "on another machine" in str(StoreCheck(store.settings).problem(redis))


def test_models_kept_elsewhere_are_refused(redis: Redis, postgres: str, tmp_path: Path) -> None:
    web = Settings(home=tmp_path / "web", database_url=postgres)
    worker = Settings(home=tmp_path / "worker", database_url=postgres)
    claim_queues(redis, identity_of(web))
    assert "APPRENTICE_STORAGE_URL" in str(StoreCheck(worker).problem(redis))
    shared = worker.model_copy(update={"storage_url": web.storage})
    assert StoreCheck(shared).problem(redis) is None


def test_another_web_process_leaves_claimed_queues_alone(redis: Redis) -> None:
    first, second = StoreIdentity("one", ""), StoreIdentity("two", "")
    claim_queues(redis, first)
    claim_queues(redis, first)
    with pytest.raises(ForeignQueuesError):
        claim_queues(redis, second)
    release_queues(redis, second)
    with pytest.raises(ForeignQueuesError):
        claim_queues(redis, second)
    release_queues(redis, first)
    claim_queues(redis, second)


def test_nobody_is_refused_while_nobody_can_tell(
    store: Store, redis: Redis, workshop: Workshop, tmp_path: Path
) -> None:
    away = Settings(
        home=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/x?connect_timeout=1"
    )
    claim_queues(redis, create_identity(store))
    assert StoreCheck(away).problem(redis) is None
    assert queues_problem(away.model_copy(update={"redis_url": "redis://127.0.0.1:1"})) is None
    other = Settings(home=tmp_path / "other", redis_url=workshop.url)
    assert "database number" in str(queues_problem(other))
    assert queues_problem(store.settings.model_copy(update={"redis_url": workshop.url})) is None


@pytest.mark.parametrize("command", ["worker sync", "serve"])
def test_a_refused_process_ends_and_leaves_the_job(
    store: Store, workshop: Workshop, tmp_path: Path, command: str
) -> None:
    claim_queues(workshop.connection, create_identity(store))
    workshop.connection.persist(store_claim.KEY)  # however long the start takes
    job = enqueue(workshop.connection, "sync", 1, 1)
    environment = {"APPRENTICE_HOME": str(tmp_path / "other"), "APPRENTICE_REDIS_URL": workshop.url}
    ended = subprocess.run(
        [sys.executable, "-m", "backend.cli", *command.split()],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "apprentice: the web process that uses this Redis" in ended.stderr
    assert open_queue(workshop.connection, "sync").job_ids == [job]
