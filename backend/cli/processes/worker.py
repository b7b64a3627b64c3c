"""`apprentice worker QUEUE`."""

from functools import partial
from typing import Annotated

import typer

from backend.cli.errors import CommandError
from backend.cli.store_access import load_settings
from store.work.work_kind import WorkKind

# Requests go before everything, then the jobs that take seconds. Embedding takes every core that it
# gets, and fine-tuning takes minutes and can wait for all others.
NICENESS = {WorkKind.EMBED: 10, WorkKind.FINETUNE: 19, WorkKind.GUEST: 19}
SHORT_JOBS = 5


def worker(
    queue: WorkKind,
    *,
    burst: Annotated[
        bool, typer.Option("--burst", help="End when the queue is empty, as a job in a cluster.")
    ] = False,
) -> None:
    """Start one background worker alone."""
    from backend import logs
    from store.files.permissions import make_files_private
    from worker.jobs.preload import preload
    from worker.queues.broker import broker_address
    from worker.queues.store_claim import StoreCheck
    from worker.queues.worker_loop import run_worker
    from worker.supervision.cpu_priority import lower_cpu_priority

    make_files_private()
    settings = load_settings()
    logs.configure(settings.log_level)
    lower_cpu_priority(NICENESS.get(queue, SHORT_JOBS))
    refused = run_worker(
        queue.value,
        broker_address(settings),
        preload=partial(preload, queue.value),
        refuse=StoreCheck(settings).problem,
        burst=burst,
    )
    if refused is not None:
        raise CommandError(refused, code=2)
