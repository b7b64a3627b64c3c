"""The queues: what waits, what runs, and what was lost with the worker that held it.

Redis is only a wake-up. The database says what is wanted; the sweeper enqueues it under a fresh
generation and asks here what became of it. A job is never put back under an id that it has had.

A worker claims a job by moving its id, in one step, from the queue to a list of its own. So a job
is at every moment in the queue, or in the hands of a worker that is named, or done; a job in the
hands of a worker that no longer lives is lost.
"""

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from redis import Redis
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from store.work.jobs import job_id
from store.work.work_kind import WorkKind
from worker.queues.job_types import AllowedJob, get_kind
from worker.supervision.process_identity import ProcessIdentity

QUEUES = tuple(WorkKind)

RESULT_SECONDS = 60  # how long a finished job is remembered
FAILURE_SECONDS = 300  # and a failed one
WAITING_SECONDS = 86_400  # a job that no worker took in a day is forgotten: its state is None

JOB_PREFIX = f"{RQ_KEY_PREFIX}:job:"
WORKER_PREFIX = f"{RQ_KEY_PREFIX}:worker:"
QUEUE_PREFIX = f"{RQ_KEY_PREFIX}:queue:"
STARTED_PREFIX = f"{RQ_KEY_PREFIX}:wip:"

# Where a job is, read at one moment: its status, and the worker that has it, if one has.
PLACE_SCRIPT = """
-- KEYS: the job, its queue, the set of the queue's workers; ARGV: job id, worker prefix, claims
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {false, false} end
if status == 'started' then
  return {status, redis.call('HGET', KEYS[1], 'worker_name') or 'unknown'}
end
if status ~= 'queued' or redis.call('LPOS', KEYS[2], ARGV[1]) then return {status, false} end
for _, key in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  local name = string.sub(key, #ARGV[2] + 1)
  if redis.call('LPOS', ARGV[3] .. name, ARGV[1]) then return {status, name} end
end
return {'nowhere', false}
"""


class JobState(StrEnum):
    """What became of an enqueued job."""

    QUEUED = "queued"  # waits in the queue, or a living worker is about to start it
    STARTED = "started"  # a living worker runs it
    FINISHED = "finished"  # for the last `RESULT_SECONDS`
    FAILED = "failed"  # it raised, took too long or was killed: for the last `FAILURE_SECONDS`
    LOST = "lost"  # its worker died with it: enqueue a new generation


# Statuses that jobs of ours never have (canceled, stopped, …) count as failed.
_STATES = {
    "queued": JobState.QUEUED,
    "started": JobState.STARTED,
    "finished": JobState.FINISHED,
    "nowhere": JobState.LOST,
}


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that lives.

    Attributes:
        name: its own, and for good.
        queue: the one queue that it serves.
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
    """The name under which that process serves that queue."""
    return f"{queue}-{process}"


def parse_worker_name(name: str) -> tuple[str, ProcessIdentity]:
    """The inverse of `worker_name`.

    Raises:
        ValueError: no worker of ours is called so.
    """
    queue, _, process = name.partition("-")
    return queue, ProcessIdentity.parse(process)


def claims_key(queue: str, worker: str = "") -> str:
    """The list of what that worker has taken from that queue and not started yet."""
    return f"{QUEUE_PREFIX}{queue}:claimed:{worker}"


def open_queue(connection: Redis, name: str) -> Queue:
    """RQ's queue of that name, for jobs of ours."""
    return Queue(name, connection=connection, job_class=AllowedJob, serializer=JSONSerializer)


def enqueue(connection: Redis, kind: str, project_id: int, generation: int) -> str:
    """Have a job run by the next free worker of its queue; gives its id.

    A job that is already known under that id, in whatever state, is left as it is: to run it
    again takes a new generation.

    Raises:
        JobRefusedError: there is no such kind.
        redis.RedisError: the broker didn't answer; the job may have been enqueued nevertheless.
    """
    job_kind = get_kind(kind)
    queue = open_queue(connection, job_kind.queue)
    name = job_id(kind, project_id, generation)
    job = queue.create_job(
        kind,
        args=(project_id, generation),
        timeout=job_kind.timeout,
        result_ttl=RESULT_SECONDS,
        failure_ttl=FAILURE_SECONDS,
        ttl=WAITING_SECONDS,
        description=name,
        job_id=name,
    )
    # A duplicate is ours, sent twice by a retry, or enqueued before the sweeper crashed.
    with suppress(DuplicateJobError):
        queue.enqueue_job(job, unique=True)
    return name


def job_state(connection: Redis, job: str) -> JobState | None:
    """What became of a job; None when Redis knows nothing of it (any more).

    Raises:
        JobRefusedError: the id isn't one that `job_id` makes.
    """
    status, worker = _place(connection, job)
    while worker is not None and not worker_is_alive(connection, worker):
        # It may have finished the job, and then ended, since the place was read.
        place = _place(connection, job)
        if place == (status, worker):
            return JobState.LOST
        status, worker = place
    return None if status is None else _STATES.get(status, JobState.FAILED)


def _place(connection: Redis, job: str) -> tuple[str | None, str | None]:
    """The job's status, and the worker that has it, at one moment."""
    queue = get_kind(job.partition("-")[0]).queue
    script = connection.register_script(PLACE_SCRIPT)
    found = script(
        keys=[JOB_PREFIX + job, QUEUE_PREFIX + queue, WORKERS_BY_QUEUE_KEY % queue],
        args=[job, WORKER_PREFIX, claims_key(queue)],
    )
    status, worker = (value and _text(value) for value in cast(list[bytes | None], found))
    return status or None, worker or None


def worker_is_alive(connection: Redis, name: str) -> bool:
    """Whether that worker lives: seen directly on this machine, by its heartbeat on another."""
    try:
        _, process = parse_worker_name(name)
    except ValueError:
        return False
    if process.is_local:
        return process.is_running()
    return bool(connection.exists(WORKER_PREFIX + name))


def workers_alive(connection: Redis) -> list[WorkerInfo]:
    """Every worker that lives, on all machines, in order of queue and name."""
    alive = []
    for name in _registered_workers(connection):
        if worker_is_alive(connection, name):
            queue, process = parse_worker_name(name)
            running = connection.smembers(f"{WORKER_PREFIX}{name}:executions")
            jobs = sorted(_text(key).partition(":")[0] for key in cast(set[Any], running))
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


def clear_stale_leases(connection: Redis) -> int:
    """Forget dead workers and the jobs that died with them; gives how many jobs that were.

    The state of such a job is None afterwards, and its id is free again. Living workers and what
    they hold are left alone, so it may be called at any time.
    """
    cleared = 0
    for name in _registered_workers(connection):
        if not worker_is_alive(connection, name):
            connection.delete(WORKER_PREFIX + name, f"{WORKER_PREFIX}{name}:executions")
            connection.srem(REDIS_WORKER_KEYS, WORKER_PREFIX + name)
            for queue in QUEUES:
                connection.srem(WORKERS_BY_QUEUE_KEY % queue, WORKER_PREFIX + name)
    for queue in QUEUES:
        for key in connection.scan_iter(match=f"{claims_key(queue)}*"):
            worker = _text(key).removeprefix(claims_key(queue))
            if not worker_is_alive(connection, worker):
                claimed = cast(list[Any], connection.lrange(key, 0, -1))
                cleared += _forget_lost(connection, {_text(job) for job in claimed})
                connection.delete(key)
        entries = cast(list[Any], connection.zrange(STARTED_PREFIX + queue, 0, -1))
        started = {entry: _text(entry).partition(":")[0] for entry in entries}
        lost = {job for job in started.values() if job_state(connection, job) is JobState.LOST}
        for entry, job in started.items():
            if job in lost or not connection.exists(JOB_PREFIX + job):
                connection.zrem(STARTED_PREFIX + queue, entry)
                connection.delete(f"{RQ_KEY_PREFIX}:execution:{_text(entry)}")
        cleared += _forget_lost(connection, lost)
    return cleared


def _forget_lost(connection: Redis, jobs: set[str]) -> int:
    lost = [job for job in jobs if job_state(connection, job) is JobState.LOST]
    for job in lost:
        connection.delete(JOB_PREFIX + job, f"{RQ_KEY_PREFIX}:executions:{job}")
    return len(lost)


def _registered_workers(connection: Redis) -> list[str]:
    keys = cast(set[Any], connection.smembers(REDIS_WORKER_KEYS))
    return sorted(_text(key).removeprefix(WORKER_PREFIX) for key in keys)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
