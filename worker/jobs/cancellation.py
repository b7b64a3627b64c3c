"""Watches whether a long job was cancelled or superseded."""

import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType

import structlog
from rq import get_current_job
from sqlalchemy.exc import SQLAlchemyError

from services.job_context import JobContext
from store.work import pending_work
from worker.queues.cancellation_mark import set_mark

log = structlog.get_logger()

LOOK_SECONDS = 0.4  # between two looks
PATIENCE_SECONDS = 1.0  # for the job to stop by itself, before its process is ended


class CancelWatch:
    """A thread that looks whether the job may go on. A context manager.

    A job that is lost in a long computation can't look itself: then its process, and what it has
    started, is killed. Memory is free again within two seconds in any case.
    """

    def __init__(self, context: JobContext, *, clear: Callable[[], None]) -> None:
        self._context = context
        self._clear = clear
        # RQ tells it to the job's own thread alone. Without a job this is somebody else's process.
        self._own_process = get_current_job() is not None
        self._cancelled = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def cancelled(self) -> bool:
        """Whether the job is to stop."""
        return self._cancelled.is_set()

    def __enter__(self) -> "CancelWatch":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self._context.check()
            except pending_work.LeaseLostError:
                self._cancelled.set()
                break
            except SQLAlchemyError as error:
                log.warning("couldn't look whether the job was cancelled", error=str(error))
        else:
            return
        if not self._over.wait(PATIENCE_SECONDS) and self._own_process:
            log.info("cancelled; the job doesn't stop by itself, so its process is ended")
            self._clear()
            set_mark()
            os.killpg(os.getpgrp(), signal.SIGKILL)
