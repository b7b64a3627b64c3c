"""Enqueues jobs in RQ's queues.

The queues only wake workers up. The database holds the pending work; the scheduler enqueues it
under a new generation and then reads the job's state. A job is never enqueued again under an id
that it has had.

A worker claims a job by moving its id, in one step, from the queue to a list of its own. So at
every moment a job is in the queue, or claimed or started by a worker that is named, or ended. A
claimed or started job whose worker is dead is lost.
"""

from contextlib import suppress

from redis import Redis
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError
from rq.queue import Queue
from rq.serializers import JSONSerializer

from store.settings import Settings
from store.work.jobs import job_id
from store.work.work_kind import GUEST_WORK, WorkKind
from worker.queues.job_types import AllowedJob, get_kind

QUEUES = tuple(WorkKind)


def needed_queues(settings: Settings) -> tuple[WorkKind, ...]:
    """The queues that need a worker: those of guest models only where there are some."""
    return tuple(kind for kind in QUEUES if settings.guests or kind not in GUEST_WORK)


RESULT_SECONDS = 60  # after which Redis drops a finished job
FAILURE_SECONDS = 300  # and a failed one
WAITING_SECONDS = 86_400  # a job that no worker took in a day is dropped: its state is None

JOB_PREFIX = f"{RQ_KEY_PREFIX}:job:"


def open_queue(connection: Redis, name: str) -> Queue:
    """Open RQ's queue of that name, for `AllowedJob`."""
    return Queue(name, connection=connection, job_class=AllowedJob, serializer=JSONSerializer)


def enqueue(connection: Redis, kind: str, project_id: int, generation: int) -> str:
    """Enqueue a job and return its id.

    If Redis has a job of that id, in any state, it is left as it is: to run it again takes a new
    generation.

    Raises:
        JobRefusedError: no such kind is registered.
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
    # A duplicate is ours, sent twice by a retry, or enqueued before the scheduler crashed.
    with suppress(DuplicateJobError):
        queue.enqueue_job(job, unique=True)
    return name
