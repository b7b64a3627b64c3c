"""Reads the state of an enqueued job from Redis."""

from enum import StrEnum
from typing import cast

from redis import Redis
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from worker.queues.enqueue import JOB_PREFIX
from worker.queues.job_types import get_kind
from worker.queues.worker_registry import (
    QUEUE_PREFIX,
    WORKER_PREFIX,
    as_text,
    claims_key,
    worker_is_alive,
)

# The job's status and the worker that claimed or started it, read at one moment.
STATUS_SCRIPT = """
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
    """The state of an enqueued job."""

    QUEUED = "queued"  # waits in the queue, or a live worker is about to start it
    STARTED = "started"  # a live worker runs it
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


def job_state(connection: Redis, job: str) -> JobState | None:
    """Return the state of a job; None when Redis has no such job (any more).

    Raises:
        JobRefusedError: the id isn't one that `job_id` makes.
    """
    status, worker = _status_and_worker(connection, job)
    while worker is not None and not worker_is_alive(connection, worker):
        # It may have finished the job, and then ended, since the status was read.
        latest = _status_and_worker(connection, job)
        if latest == (status, worker):
            return JobState.LOST
        status, worker = latest
    return None if status is None else _STATES.get(status, JobState.FAILED)


def _status_and_worker(connection: Redis, job: str) -> tuple[str | None, str | None]:
    """Read the job's status and the worker that claimed or started it, at one moment."""
    queue = get_kind(job.partition("-")[0]).queue
    script = connection.register_script(STATUS_SCRIPT)
    reply = script(
        keys=[JOB_PREFIX + job, QUEUE_PREFIX + queue, WORKERS_BY_QUEUE_KEY % queue],
        args=[job, WORKER_PREFIX, claims_key(queue)],
    )
    status, worker = (value and as_text(value) for value in cast(list[bytes | None], reply))
    return status or None, worker or None
