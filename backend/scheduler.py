"""Schedules pending work as jobs: four times a second, and when woken.

Work is lost only with the database, never with the queue: a job that was lost or failed is enqueued
again under a new generation, whose id was never used. Of several web processes one schedules; each
step changes only what it has read, so that a second one, which has not noticed yet that it lost the
lease, does nothing twice.
"""

import contextlib
import threading
import time

import structlog
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from backend.embedding_helpers import EmbeddingHelpers
from services.learning.schedule import learning_is_due
from services.sync.watched import whole_sync_seconds
from store.identity import StoreIdentity, create_identity
from store.projects.key_values import WEB_STARTED
from store.projects.projects import list_projects
from store.settings import Settings
from store.store import Store
from store.work import pending_work
from store.work.jobs import add_job, change_job, get_job
from store.work.scheduler_lease import SchedulerLease
from store.work.work_kind import GUEST_WORK, WorkKind
from worker.queues.broker_errors import explain
from worker.queues.enqueue import enqueue
from worker.queues.job_state import job_state
from worker.queues.store_claim import (
    RENEW_SECONDS,
    ForeignQueuesError,
    claim_queues,
    release_queues,
)

log = structlog.get_logger()

INTERVAL = 0.25  # seconds
PAUSE = 0.05  # seconds after a round, however often it is woken: webhooks come in hundreds
UNDER_WAY = ("queued", "started")


class Scheduler:
    """A thread of the web process that enqueues jobs for pending work."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis
        # Two rounds at once would take a job for lost that the other is about to enqueue.
        self._round = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._helpers = EmbeddingHelpers(store, redis)
        self._failures = 0
        self._identity: StoreIdentity | None = None
        self._claimed_at = float("-inf")  # monotonic
        # An SQLite database has one web process.
        self._lease = None if store.database.is_sqlite else SchedulerLease(store.database)
        self._led_since = None if self._lease else time.time()

    @property
    def leads(self) -> bool:
        """Whether this process schedules; of several web processes, one does."""
        return self._led_since is not None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Start a round now: there is new pending work."""
        self._wake.set()

    def stop(self) -> None:
        """Stop the thread, and wait for the round under way."""
        self._stopped.set()
        self._wake.set()
        self._thread.join()
        if self._lease is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._lease.release()
        elif self._identity is not None and not self._failures:  # the broker is there
            with contextlib.suppress(RedisError):
                release_queues(self._redis, self._identity)

    def run_once(self) -> None:
        """Run one round: request the reconciles that are due, and enqueue the jobs that are.

        One round runs at a time, whichever thread asks; none in a process without the lease.
        """
        with self._round:
            if self._lease is not None and not self._lease.hold():
                self._led_since = None
                return
            self._run_round()

    def _claim_queues(self) -> None:
        """Tell the workers whose queues these are."""
        if time.monotonic() - self._claimed_at < RENEW_SECONDS:
            return
        if self._identity is None:
            self._identity = create_identity(self._store)
        claim_queues(self._redis, self._identity)
        self._claimed_at = time.monotonic()

    def _run_round(self) -> None:
        self._claim_queues()
        database = self._store.database
        now = time.time()
        since = self._led_since = self._led_since or now
        settings = self._store.settings
        with database.read() as db:
            due = _due_for_reconcile(db, settings, now, since)
        if due:
            database.write(lambda db: _request_reconciles(db, settings, now, since))
        with database.read() as db:
            ripe = [item for item in pending_work.list_wanted(db) if self._is_ripe(db, item, now)]
        for item in ripe:
            self._enqueue(item)
        self._helpers.run()

    def _is_ripe(self, db: Connection, item: pending_work.Work, now: float) -> bool:
        if item.not_before > now or (item.kind in GUEST_WORK and not self._store.settings.guests):
            return False
        if item.kind != WorkKind.LEARN:
            return True
        return learning_is_due(db, item, self._store.settings, now)

    def _enqueue(self, item: pending_work.Work) -> None:
        if item.enqueued > item.done:
            state = job_state(self._redis, item.job_id)
            if state in UNDER_WAY or self._note_lost(item, state or "lost"):
                return
        database = self._store.database

        def prepare(db: Connection) -> int | None:
            generation = pending_work.next_generation(db, item)
            if generation is not None:
                add_job(db, item.project_id, item.kind, generation)
            return generation

        generation = database.write(prepare)
        if generation is not None:
            enqueue(self._redis, item.kind, item.project_id, generation)

    def _note_lost(self, item: pending_work.Work, state: str) -> int:
        """Note the end of a job whose process ended before it could (killed, out of memory).

        Returns:
            Seconds until the next one may follow.
        """
        with self._store.database.read() as db:
            if not _is_under_way(db, item.job_id):
                return 0
        log.warning("job lost", job=item.job_id, state=state)
        error = f"process ended: {state}"

        def write(db: Connection) -> int:
            job = get_job(db, item.job_id, lock=True)
            if job is None or job.ended_at is not None:  # cancelled meanwhile
                return 0
            change_job(db, item.job_id, state="lost", ended_at=time.time(), error=error)
            began = job.started_at is not None
            return pending_work.mark_lost(db, item.project_id, item.kind, error) if began else 0

        return self._store.database.write(write)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.run_once()
                self._failures = 0
            except (RedisError, SQLAlchemyError, OSError, ForeignQueuesError) as error:
                self._failures += 1
                if self._failures in (1, 20) or self._failures % 240 == 0:
                    log.warning("scheduling failed; trying again", error=_explain(error))
            except Exception:
                log.exception("scheduling failed")
            self._stopped.wait(PAUSE)
            self._wake.wait(INTERVAL - PAUSE)
            self._wake.clear()


def _explain(error: Exception) -> str:
    return explain(error) if isinstance(error, RedisError) else str(error)


def _is_under_way(db: Connection, job_id: str) -> bool:
    job = get_job(db, job_id)
    return job is not None and job.ended_at is None


def _due_for_reconcile(
    db: Connection, settings: Settings, now: float, led_since: float, *, lock: bool = False
) -> list[int]:
    """Projects last reconciled long ago, or before a web process started or took over.

    Nobody heard the webhooks that came in between; a wait after failures is over then, too.
    """
    started = max(led_since, WEB_STARTED.get(db) or 0.0)
    due = []
    for project in list_projects(db):
        last = project.reconciled_at or 0.0
        age = now - last
        if last >= started and (
            age < settings.reconcile_seconds
            or age < whole_sync_seconds(db, project.id, settings, now)
        ):
            continue
        wanted = pending_work.get_work(db, project.id, WorkKind.SYNC, lock=lock)
        if wanted is None or wanted.wanted == wanted.done or wanted.touched_at < started:
            due.append(project.id)
    return due


def _request_reconciles(db: Connection, settings: Settings, now: float, led_since: float) -> None:
    """Request the reconciles that are due still, now that nobody else can."""
    for project_id in _due_for_reconcile(db, settings, now, led_since, lock=True):
        pending_work.want(db, project_id, WorkKind.SYNC, not_before=now)
