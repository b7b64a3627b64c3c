"""`apprentice worker QUEUE`."""

import os

from backend import logs
from backend.commands.common import load_settings
from worker.broker import broker_url
from worker.worker import run_worker

# Embedding takes every core that it gets; requests and the small jobs go first.
NICE = {"embed": 10, "learn": 5}


def run(queue: str) -> None:
    """Serve the queue until SIGTERM or Ctrl-C."""
    settings = load_settings()
    logs.configure(settings.log_level)
    os.nice(NICE.get(queue, 0))
    run_worker(queue, settings.redis_url or broker_url(settings.home))
