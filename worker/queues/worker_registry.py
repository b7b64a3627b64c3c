"""Lists the registered workers and checks which of them are alive."""

from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from rq.defaults import RQ_KEY_PREFIX
from rq.worker_registration import REDIS_WORKER_KEYS

from worker.supervision.process_identity import ProcessIdentity

WORKER_PREFIX = f"{RQ_KEY_PREFIX}:worker:"


QUEUE_PREFIX = f"{RQ_KEY_PREFIX}:queue:"


@dataclass(frozen=True)
class WorkerInfo:
    """A live worker process.

    Attributes:
        name: unique, also after the process has ended.
        queue: the one queue that it serves.
        host: the machine, as in `ProcessIdentity`.
        pid: on `host`.
        busy: whether it runs a job now.
        job: id of that job.
    """

    name: str
    queue: str
    host: str
    pid: int
    busy: bool
    job: str | None


def worker_name(queue: str, process: ProcessIdentity) -> str:
    """Return the name of the worker that serves that queue in that process."""
    return f"{queue}-{process}"


def parse_worker_name(name: str) -> tuple[str, ProcessIdentity]:
    """Return the queue and the process of a worker's name.

    Raises:
        ValueError: `worker_name` makes no such name.
    """
    queue, _, process = name.partition("-")
    return queue, ProcessIdentity.parse(process)


def claims_key(queue: str, worker: str = "") -> str:
    """Return the key of the list of job ids that the worker has claimed and not started yet."""
    return f"{QUEUE_PREFIX}{queue}:claimed:{worker}"


def worker_is_alive(connection: Redis, name: str) -> bool:
    """Whether the worker's process runs; on another machine, whether its heartbeat is fresh."""
    try:
        _, process = parse_worker_name(name)
    except ValueError:
        return False
    if process.is_local:
        return process.is_running()
    return bool(connection.exists(WORKER_PREFIX + name))


def live_workers(connection: Redis) -> list[WorkerInfo]:
    """List the live workers of all machines, sorted by queue and name."""
    alive = []
    for name in registered_workers(connection):
        if worker_is_alive(connection, name):
            queue, process = parse_worker_name(name)
            running = connection.smembers(f"{WORKER_PREFIX}{name}:executions")
            jobs = sorted(as_text(key).partition(":")[0] for key in cast(set[Any], running))
            alive.append(
                WorkerInfo(
                    name=name,
                    queue=queue,
                    host=process.host,
                    pid=process.pid,
                    busy=bool(jobs),
                    job=jobs[0] if jobs else None,
                )
            )
    return sorted(alive, key=lambda worker: (worker.queue, worker.name))


def registered_workers(connection: Redis) -> list[str]:
    """List the names of all registered workers, dead ones too, sorted."""
    keys = cast(set[Any], connection.smembers(REDIS_WORKER_KEYS))
    return sorted(as_text(key).removeprefix(WORKER_PREFIX) for key in keys)


def as_text(value: bytes | str) -> str:
    """Decode a value of Redis."""
    return value.decode() if isinstance(value, bytes) else value
