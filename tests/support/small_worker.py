"""A worker of the queue `finetune` that knows the small backbones: `small_worker.py BROKER`."""

import sys

import tests.support.small_backbones  # noqa: F401
from backend import logs
from services.finetuning import progress
from worker.queues.worker_loop import run_worker

if __name__ == "__main__":
    logs.configure("info")
    progress.SHOW_SECONDS = 0.05  # tests look on
    run_worker("finetune", sys.argv[1])
