"""Removes dead workers, and the jobs that died with them, from Redis."""

from typing import Any, cast

from redis import Redis
from rq.defaults import RQ_KEY_PREFIX
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from worker.queues.enqueue import JOB_PREFIX, QUEUES
from worker.queues.job_state import JobState, job_state
from worker.queues.worker_registry import (
    WORKER_PREFIX,
    as_text,
    claims_key,
    registered_workers,
    worker_is_alive,
)

STARTED_PREFIX = f"{RQ_KEY_PREFIX}:wip:"


def remove_dead_workers(connection: Redis) -> int:
    """Delete dead workers and their lost jobs from Redis; return the number of those jobs.

    The state of such a job is None afterwards, and its id is free again. Live workers and their
    jobs are left alone, so it may be called at any time.
    """
    deleted = 0
    for name in registered_workers(connection):
        if not worker_is_alive(connection, name):
            connection.delete(WORKER_PREFIX + name, f"{WORKER_PREFIX}{name}:executions")
            connection.srem(REDIS_WORKER_KEYS, WORKER_PREFIX + name)
            for queue in QUEUES:
                connection.srem(WORKERS_BY_QUEUE_KEY % queue, WORKER_PREFIX + name)
    for queue in QUEUES:
        for key in connection.scan_iter(match=f"{claims_key(queue)}*"):
            worker = as_text(key).removeprefix(claims_key(queue))
            if not worker_is_alive(connection, worker):
                claimed = cast(list[Any], connection.lrange(key, 0, -1))
                deleted += _delete_lost(connection, {as_text(job) for job in claimed})
                connection.delete(key)
        entries = cast(list[Any], connection.zrange(STARTED_PREFIX + queue, 0, -1))
        started = {entry: as_text(entry).partition(":")[0] for entry in entries}
        lost = {job for job in started.values() if job_state(connection, job) is JobState.LOST}
        for entry, job in started.items():
            if job in lost or not connection.exists(JOB_PREFIX + job):
                connection.zrem(STARTED_PREFIX + queue, entry)
                connection.delete(f"{RQ_KEY_PREFIX}:execution:{as_text(entry)}")
        deleted += _delete_lost(connection, lost)
    return deleted


def _delete_lost(connection: Redis, jobs: set[str]) -> int:
    lost = [job for job in jobs if job_state(connection, job) is JobState.LOST]
    for job in lost:
        connection.delete(JOB_PREFIX + job, f"{RQ_KEY_PREFIX}:executions:{job}")
    return len(lost)
