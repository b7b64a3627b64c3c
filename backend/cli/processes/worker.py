"""`apprentice worker QUEUE`."""

import importlib
from functools import partial

from backend import logs
from backend.cli.common import load_settings
from store.work.work_kind import WorkKind
from worker.queues.broker import broker_url
from worker.queues.forking_worker import run_worker
from worker.supervision.cpu_priority import be_nice

# Embedding takes every core that it gets; requests and the small jobs go first. Fine-tuning takes
# minutes and can wait for all others.
NICE: dict[str, int] = {WorkKind.EMBED: 10, WorkKind.FINETUNE: 19}


def run(queue: str) -> None:
    """Serve the queue until SIGTERM or Ctrl-C."""
    settings = load_settings()
    logs.configure(settings.log_level)
    be_nice(NICE.get(queue, 0))
    url = settings.redis_url or broker_url(settings.home)
    run_worker(queue, url, preload=partial(_preload, queue))


def _preload(queue: str) -> None:
    """Import the job's module, and what it says it needs, here and not in each job's process."""
    module = importlib.import_module(f"worker.jobs.{queue}")
    preload = getattr(module, "preload", None)
    if preload is not None:
        preload()
