"""Runs the jobs of one queue, each in a forked process.

It differs from RQ's forking worker: it claims a job in one step and under its own name, so that a
claim is lost with no worker; its forks die with it; it has no thread when it forks; it waits for a
broker that is away instead of ending; it takes no commands from Redis; and other machines notice
within `HEARTBEAT_TTL_SECONDS` that it has died.
"""

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import redis
import structlog
from rq.exceptions import NoSuchJobError, StopRequested
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.utils import now
from rq.worker import WorkerStatus

from worker.queues.broker_errors import explain
from worker.queues.cancellation_mark import clear_mark, is_marked
from worker.queues.enqueue import JOB_PREFIX
from worker.queues.heartbeat_worker import HeartbeatWorker
from worker.queues.worker_registry import claims_key
from worker.supervision.parent_death import ParentDeathGuard

FIRST_WAIT_SECONDS = 0.1  # for a broker that is away; doubled each time
LONGEST_WAIT_SECONDS = 5.0
OVERTIME_SECONDS = 5  # from the exception that ends a job in time to the end of its process

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Put claimed jobs that were not started back to the front of the queue.
REQUEUE_SCRIPT = """
-- KEYS: the claims, the queue; ARGV: job prefix
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if redis.call('HGET', ARGV[1] .. id, 'status') == 'queued' then
    redis.call('LPUSH', KEYS[2], id)
  end
end
redis.call('DEL', KEYS[1])
"""

log = structlog.get_logger(__name__)


class ForkingWorker(HeartbeatWorker):
    """A worker of one queue; see `worker_loop.run_worker`."""

    def __init__(
        self,
        queue: str,
        connection: redis.Redis,
        after_fork: Callable[[], None] | None = None,
        refuse: Callable[[redis.Redis], str | None] | None = None,
    ) -> None:
        super().__init__(queue, connection)
        self.refused: str | None = None  # why this worker takes no jobs
        self._refuse = refuse
        self.claims = claims_key(queue, self.name)
        self._after_fork = after_fork
        self._parent_death = ParentDeathGuard()
        self._may_stop_now = False
        self._forked = ""  # id of the job whose process was forked last

    # Stopping

    @property
    def stop_requested(self) -> bool:
        """Whether a signal has asked this worker to stop."""
        return self._stop_requested

    def install_signal_handlers(self) -> None:
        """Install the handlers of SIGINT and SIGTERM, before the first job already."""
        self._install_signal_handlers()  # type: ignore[no-untyped-call]

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Handle the first signal: stop now when idle, else after the job."""
        self._shutdown_requested_date = now()
        for number in STOP_SIGNALS:
            signal.signal(number, self.request_force_stop)
        self._stop_requested = True
        if self._may_stop_now:
            raise StopRequested

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Let the signal's handler raise here, where no job would be lost."""
        self._may_stop_now = True
        try:
            if self._stop_requested:
                raise StopRequested
            yield
        finally:
            self._may_stop_now = False

    def pause(self, seconds: float) -> None:
        """Sleep; raises `StopRequested` at once when a signal comes."""
        with self._stoppable():
            time.sleep(seconds)

    def teardown(self) -> None:
        """Deregister, if the broker answers."""
        if not self.is_horse:
            with contextlib.suppress(redis.RedisError):
                self._requeue_claims()
                self.register_death()  # type: ignore[no-untyped-call]

    # Taking jobs

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job, also while the broker is away; None only in burst mode.

        Raises:
            StopRequested: a signal came.
        """
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                self._repair()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()
                job_id = self._claim(timeout)
                self._stop_if_refused()
                job = None if job_id is None else self._read_claimed(job_id)
            except redis.RedisError as error:
                log.warning("worker.broker_away", error=explain(error), retry_in=wait)
                self.pause(wait)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
                continue
            if job is not None:
                return job, self.queue
            if job_id is None and timeout is None:
                return None
            wait = FIRST_WAIT_SECONDS

    def _claim(self, timeout: int | None) -> str | None:
        """Move the first job to this worker's claims; None when there was none in time."""
        with self._stoppable():
            if timeout is None:
                claimed = self.connection.lmove(self.queue.key, self.claims)
            else:
                claimed = self.connection.blmove(self.queue.key, self.claims, timeout)
        return None if claimed is None else cast(bytes, claimed).decode()

    def _stop_if_refused(self) -> None:
        """Stop this worker when it must take no jobs; a claimed one goes back to the queue."""
        self.refused = self._refuse(self.connection) if self._refuse is not None else None
        if self.refused is not None:
            log.error("worker.refused", reason=self.refused)
            self._stop_requested = True
            raise StopRequested

    def _read_claimed(self, job_id: str) -> Job | None:
        """Read the claimed job; None when it can't be read, and then its claim is dropped."""
        try:
            return self.job_class.fetch(job_id, connection=self.connection)
        except redis.RedisError:
            raise
        except NoSuchJobError:
            log.warning("job.forgotten", job=job_id)
        except Exception:  # whatever it is that another program wrote there
            log.exception("job.unreadable", job=job_id)
            self.connection.delete(JOB_PREFIX + job_id)
        self.connection.lrem(self.claims, 0, job_id)
        return None

    def _repair(self) -> None:
        """Repair leftovers of the last job, or of a lost reply, before the next job."""
        self._horse_pid = 0
        self.set_state(WorkerStatus.IDLE)
        self.heartbeat()
        self._requeue_claims()
        for key in cast(set[bytes], self.connection.smembers(self.executions_key)):
            self._fail_abandoned(Execution.from_composite_key(key.decode(), self.connection))

    def _requeue_claims(self) -> None:
        script = self.connection.register_script(REQUEUE_SCRIPT)
        script(keys=[self.claims, self.queue.key], args=[JOB_PREFIX])

    def _fail_abandoned(self, execution: Execution) -> None:
        """Fail a job whose process ended while the broker was away."""
        execution.worker_name = self.name
        self.connection.srem(self.executions_key, execution.composite_key)
        try:
            job = self.job_class.fetch(execution.job_id, connection=self.connection)
        except NoSuchJobError:
            return
        if job.get_status(refresh=False) is JobStatus.STARTED and job.worker_name == self.name:
            reason = "the job's process ended while the broker was away"
            self.handle_job_failure(job, self.queue, exc_string=reason, execution=execution)

    # Running jobs

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork the process that runs the job, in a process group of its own."""
        self._forked = job.id
        clear_mark()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                os.setpgrp()
                self.main_work_horse(job, queue)
            with contextlib.suppress(OSError):  # whoever of the two comes first
                os.setpgid(pid, pid)
            self._horse_pid = pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def setup_work_horse_signals(self) -> None:
        """In the fork: reset the parent's signal handlers and bind this process to the parent."""
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self._parent_death.bind()

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """In the fork: run the job, with a watchdog for code that catches every exception."""
        began = time.monotonic()
        structlog.contextvars.bind_contextvars(job=job.id)
        if job.timeout and job.timeout > 0:
            faulthandler.dump_traceback_later(job.timeout + OVERTIME_SECONDS, exit=True)
        if self._after_fork is not None:
            try:
                self._after_fork()
            except Exception:
                log.exception("job.no_start")
                raise
        succeeded = super().perform_job(job, queue, execution)
        faulthandler.cancel_dump_traceback_later()
        log.info("job.ended", succeeded=succeeded, seconds=round(time.monotonic() - began, 3))
        return succeeded

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """In the fork: mark the job as started by this worker, then remove its claim."""
        super().prepare_job_execution(job)
        self.connection.lrem(self.claims, 0, job.id)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Wait for the job's process to end."""
        ended = super().wait_for_horse()
        if is_marked():
            self._stopped_job_id = self._forked
        return ended

    def _handle_stopped_job(self, job: Job, queue: Queue, execution: Execution) -> None:
        log.info("job.cancelled", job=job.id)
        self.handle_job_failure(job, queue, exc_string="cancelled", execution=execution)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log the exception of a failed job."""
        log.error("job.failed", exc_info=exc_info)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """Log that a job's process ended before the job did."""
        log.error("job.killed", job=job.id, wait_status=ret_val)
