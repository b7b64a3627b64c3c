"""An RQ worker with heartbeats: registration, their expiry, and cleaning of expired registries."""

import contextlib
from typing import Any

import redis
import structlog
from redis.client import Pipeline
from rq import Worker, worker_registration
from rq.executions import Execution
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.utils import now
from rq.worker import WorkerStatus

from worker.queues.enqueue import open_queue
from worker.queues.job_types import AllowedJob
from worker.queues.worker_registry import worker_name
from worker.supervision.process_identity import ProcessIdentity

HEARTBEAT_TTL_SECONDS = 30  # a worker without a heartbeat for so long is dead to other machines
IDLE_BEAT_SECONDS = 10  # between heartbeats while it waits for a job
BUSY_BEAT_SECONDS = 5  # and while a job runs
MAINTENANCE_SECONDS = 120

log = structlog.get_logger(__name__)


class HeartbeatWorker(Worker):
    """RQ's worker, named after its process, sending heartbeats without a thread of its own."""

    job_class = AllowedJob

    def __init__(self, queue: str, connection: redis.Redis) -> None:
        """Make a worker of one queue, without a call to the broker, which may be away."""
        process = ProcessIdentity.own()
        super().__init__(
            [open_queue(connection, queue)],
            name=worker_name(queue, process),
            connection=connection,
            job_monitoring_interval=BUSY_BEAT_SECONDS,
            maintenance_interval=MAINTENANCE_SECONDS,
            prepare_for_work=False,
        )
        self.hostname = process.host
        self.pid = process.pid
        self.queue = self.queues[0]

    def bootstrap(self, *_args: Any, **_kwargs: Any) -> None:
        """Register the worker, without RQ's log handlers and its command channel's thread."""
        self.executions.clear()
        # The name is this process's alone: an entry under it is from its own last try.
        self.connection.delete(self.key)
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state(WorkerStatus.STARTED)
        self.heartbeat()  # RQ gives a new worker minutes
        log.info("worker.started", queue=self.queue.name, worker=self.name)

    def check_for_suspension(self, burst: bool) -> None:
        """Do nothing: workers aren't suspended through Redis."""

    @property
    def dequeue_timeout(self) -> int:
        """Seconds to wait for a job before the next heartbeat."""
        return IDLE_BEAT_SECONDS

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds after which a running job without a heartbeat counts as abandoned."""
        return HEARTBEAT_TTL_SECONDS

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Send a heartbeat and register again. A broker that is away is no error."""
        if pipeline is not None:
            self._beat(pipeline)
            return
        with contextlib.suppress(redis.RedisError), self.connection.pipeline() as own:
            self._beat(own)
            own.execute()

    def _beat(self, pipeline: Pipeline) -> None:
        super().heartbeat(HEARTBEAT_TTL_SECONDS, pipeline=pipeline)
        worker_registration.register(self, pipeline)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Send the heartbeats of a worker that runs a job. A broker that is away is no error."""
        try:
            super().maintain_heartbeats(job, execution)
        except redis.RedisError as error:
            log.warning("worker.broker_away", job=job.id, error=str(error))

    def run_maintenance_tasks(self) -> None:
        """Remove expired entries from the registries that our jobs use."""
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ's is untyped
        with contextlib.suppress(redis.RedisError):
            for registry in (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry):
                registry(queue=self.queue, job_class=self.job_class).cleanup()
            worker_registration.clean_worker_registry(self.queue)
