"""Runs a worker of one queue until it is told to stop, also while the broker is away."""

import contextlib
import gc
import logging
import time
from collections.abc import Callable
from functools import partial

import redis
import structlog
from rq.exceptions import StopRequested

from worker.queues.broker import redis_from_url
from worker.queues.broker_errors import explain
from worker.queues.enqueue import QUEUES
from worker.queues.forking_worker import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, ForkingWorker
from worker.queues.job_types import kinds_of_queue
from worker.supervision.parent_death import require_main_thread

HEALTHY_SECONDS = 30.0  # a run of that length makes the next wait the first again

RQ_LOGGERS = ("rq.worker", "rq.job", "rq.queue", "rq.registry", "rq.scripts")

log = structlog.get_logger(__name__)


def run_worker(
    queue: str,
    redis_url: str,
    *,
    preload: Callable[[], None] | None = None,
    after_fork: Callable[[], None] | None = None,
    refuse: Callable[[redis.Redis], str | None] | None = None,
    burst: bool = False,
) -> str | None:
    """Serve one queue until SIGTERM or SIGINT; a running job is finished first.

    A second signal, more than a second later, kills that job too.

    Args:
        queue: one of `QUEUES`.
        redis_url: the broker; it may be away, also at the start.
        preload: run once, in the parent, instead of `import_jobs`. It must start no thread and
            must not touch CUDA or OpenVINO: neither survives a fork.
        after_fork: run in each job's process before the job: drops what must not be shared.
        refuse: asked before each job; a reason why this worker must take none stops it.
        burst: return when the queue is empty.

    Returns:
        The reason that `refuse` gave; None when the worker was told to stop.
    """
    if queue not in QUEUES:
        raise ValueError(f"no queue is called {queue!r}; there are {', '.join(QUEUES)}")
    require_main_thread()
    for name in RQ_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    (preload or partial(import_jobs, queue))()
    gc.freeze()  # a collection in a fork would copy the parent's pages
    worker = ForkingWorker(queue, redis_from_url(redis_url), after_fork, refuse)
    worker.install_signal_handlers()
    wait = FIRST_WAIT_SECONDS
    while True:
        began = time.monotonic()
        try:
            worker.work(burst=burst)
        except redis.RedisError as error:
            log.warning("worker.broker_away", queue=queue, error=explain(error), retry_in=wait)
        if burst or worker.stop_requested:
            return worker.refused
        if time.monotonic() - began > HEALTHY_SECONDS:
            wait = FIRST_WAIT_SECONDS
        with contextlib.suppress(StopRequested):
            worker.pause(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def import_jobs(queue: str) -> None:
    """Import the modules of a queue's jobs."""
    for kind in kinds_of_queue(queue):
        kind.load()
