"""A real Redis with TLS, a password and users, as an organisation runs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from store.settings import Settings
from tests.support.redis_server import PASSWORD, RedisServer
from tests.support.workshop import Workshop, eventually
from worker.queues.broker import broker_address, broker_problem, redis_from_url
from worker.queues.dead_workers import remove_dead_workers
from worker.queues.enqueue import enqueue
from worker.queues.job_state import JobState, job_state


def address(server: RedisServer, url: str, **more: object) -> str:
    settings = Settings(redis_url=url, redis_password=PASSWORD, redis_ca_file=server.ca, **more)  # type: ignore[arg-type]
    return broker_address(settings)


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[Redis]:
    client = redis_server.admin()
    client.flushall()
    client.acl_log_reset()
    yield client
    client.close()


def test_jobs_run_over_tls_for_a_user_with_few_rights(
    redis_server: RedisServer, admin: Redis, tmp_path: Path
) -> None:
    url = address(redis_server, redis_server.url())
    shop = Workshop(tmp_path, url, redis_from_url(url))
    done = enqueue(shop.connection, "note", 5, 1)
    failed = enqueue(shop.connection, "fail", 5, 1)
    shop.work_off()
    assert job_state(shop.connection, done) is JobState.FINISHED
    assert job_state(shop.connection, failed) is JobState.FAILED
    worker = shop.start_worker()
    hanging = enqueue(shop.connection, "hang", 5, 1)
    shop.process_of(hanging)
    worker.kill()
    worker.wait()
    eventually(lambda: job_state(shop.connection, hanging) is JobState.LOST)
    assert remove_dead_workers(shop.connection) == 1
    shop.connection.close()
    refused = [entry for entry in admin.acl_log() if entry["username"] == "apprentice"]
    assert refused == []


@pytest.mark.parametrize(
    ("url", "password", "trusted", "words"),
    [
        ("rediss://apprentice@localhost:{tls}/0", PASSWORD, True, None),
        ("redis://apprentice@localhost:{plain}/0", PASSWORD, True, None),
        ("redis://localhost:{plain}/0", PASSWORD, True, None),
        ("rediss://apprentice@localhost:{tls}/0", PASSWORD, False, "APPRENTICE_REDIS_CA_FILE"),
        ("rediss://apprentice@localhost:{tls}/0", "wrong", True, "APPRENTICE_REDIS_PASSWORD"),
        ("redis://localhost:{plain}/0", None, True, "APPRENTICE_REDIS_PASSWORD"),
        ("redis://apprentice@localhost:{tls}/0", PASSWORD, True, "use rediss://"),
        ("redis://apprentice@localhost:{plain}/99", PASSWORD, True, "smaller database number"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(
    redis_server: RedisServer,
    url: str,
    password: str | None,
    trusted: bool,
    words: str | None,
) -> None:
    settings = Settings(
        redis_url=url.format(tls=redis_server.tls_port, plain=redis_server.port),
        redis_password=password,  # type: ignore[arg-type]
        redis_ca_file=redis_server.ca if trusted else None,
    )
    problem = broker_problem(broker_address(settings))
    if words is None:
        assert problem is None
    else:
        assert words in str(problem)
        assert PASSWORD not in str(problem)


def test_tls_to_a_port_without_it_is_said(bundled_redis: RedisServer) -> None:
    url = f"rediss://apprentice@localhost:{bundled_redis.port}/0"  # it waits for an answer
    assert "use redis://" in str(broker_problem(address(bundled_redis, url)))


def test_a_user_without_rights_is_told_where_they_are_listed(redis_server: RedisServer) -> None:
    problem = broker_problem(address(redis_server, redis_server.url("reader")))
    assert "docs/deployment.md" in str(problem)


def test_a_password_is_added_to_an_address_that_has_none() -> None:
    def full(url: str) -> str:
        return broker_address(Settings(redis_url=url, redis_password=PASSWORD))  # type: ignore[arg-type]

    quoted = "p%40ss%2Fword%3A1"
    with_user = "rediss://me@redis.example:1/2?x=y"
    assert full(with_user) == f"rediss://me:{quoted}@redis.example:1/2?x=y"
    assert full("redis://redis.example") == f"redis://:{quoted}@redis.example"
    assert full("redis://:own@redis.example") == "redis://:own@redis.example"
    assert full("unix:///run/redis.sock") == "unix:///run/redis.sock"
