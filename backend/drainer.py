"""Applies acknowledged webhooks to the database, in order: a thread of the web process.

An event is applied within milliseconds when nothing else is going on, and with those that came
meanwhile when there is. While the database can't be written, they wait in the inbox.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from backend.http.prometheus import Metrics
from backend.http.request_bodies import parse
from services.sync.inbox import InboxTakenError, Letter, Mark, Result, apply_letters, mark_key
from services.sync.webhook_events import Event, read_event
from store.inbox.inbox import Delivery, Inbox
from store.store import Store

log = structlog.get_logger()

BATCH, BATCH_BYTES = 50, 500_000  # about the most in one transaction, which locks out others
PAUSE = 0.1  # seconds between two transactions: webhooks come in hundreds
POLL_SECONDS = 1.0
STOP_SECONDS = 2.0  # for what is left when the process is stopped
WAITS = (0.05, 0.2, 1.0, 5.0)  # seconds after failures
ALONE = 3  # failures of a batch, after which its records are tried one by one
# Failures of one record, while the database takes others, after which it is put aside: of one that
# the database refuses, and of one that may have met a fault of the database.
REFUSED, FAULTY = 3, 30


class Drainer:
    """Applies an inbox's deliveries.

    Args:
        on_applied: is called after each transaction.
    """

    def __init__(
        self, store: Store, inbox: Inbox, metrics: Metrics, on_applied: Callable[[], None]
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._metrics = metrics
        self._on_applied = on_applied
        self._process = secrets.token_hex(8)
        self._batch: list[Delivery] = []
        self._failures = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drainer", daemon=True)
        with store.database.read() as db:
            self._mark = mark_key(inbox.id).get(db) or Mark(0, "")
        inbox.resume(self._mark.number)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, when all is applied or after a while. What is left waits."""
        self._inbox.wait_until_applied(STOP_SECONDS)
        self._stopped.set()
        self._inbox.wake()
        self._thread.join()

    @property
    def age(self) -> float:
        """How many seconds the oldest event has waited to be applied."""
        batch = self._batch
        return max(time.time() - batch[0].received_at, 0.0) if batch else 0.0

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._batch and not self._inbox.wait_for_new(POLL_SECONDS, self._stopped):
                continue
            try:
                self._batch = self._batch or self._inbox.read(BATCH, BATCH_BYTES)
                if self._batch:
                    batch = self._batch if self._failures < ALONE else self._batch[:1]
                    self._apply([Letter.read(delivery, _read) for delivery in batch])
            except Exception as error:
                self._failures += 1
                self._react(error)
                self._stopped.wait(WAITS[min(self._failures, len(WAITS)) - 1])
            else:
                self._stopped.wait(PAUSE)

    def _apply(self, letters: Sequence[Letter]) -> None:
        after = Mark(letters[-1].delivery.number, self._process)

        def write(db: Connection) -> list[Result]:
            now = time.time()
            results = apply_letters(db, self._inbox.id, self._mark, letters, after, now)
            for result in results:
                if result.reason:
                    self._inbox.put_aside(result.letter.delivery, result.reason)
            return results

        results = self._store.database.write(write)
        self._mark = after
        self._batch = self._batch[len(letters) :]
        self._failures = 0
        for result in results:
            self._report(result)
        self._on_applied()
        self._inbox.mark_applied(after.number)

    def _react(self, error: Exception) -> None:
        log.warning("webhooks wait", reason=str(error), waiting=self._inbox.depth)
        if isinstance(error, InboxTakenError):
            self._inbox.rename()
            key, mark = mark_key(self._inbox.id), self._mark
            self._store.database.write(lambda db: key.set(db, mark))
            return
        refused = isinstance(error, SQLAlchemyError) and not isinstance(error, OperationalError)
        if self._failures >= ALONE + (REFUSED if refused else FAULTY):
            self._apply_in_part(f"{type(error).__name__}: {error}")

    def _apply_in_part(self, reason: str) -> None:
        """Apply what can be of the first delivery, and put it aside, if the database takes that."""
        delivery = self._batch[0]
        apart = replace(Letter.read(delivery, _read), is_apart=True)
        for letter in (apart, Letter(delivery, None, reason)):
            with contextlib.suppress(SQLAlchemyError):
                self._apply([letter])
                return

    def _report(self, result: Result) -> None:
        event, outcome = result.letter.event, result.outcome
        action = event.action if event is not None else "other"
        if result.reason:
            self._metrics.webhooks.labels(action, "rejected").inc()
            log.error("webhook put aside", action=action, reason=result.reason)
        if outcome is None:
            return
        self._metrics.webhooks.labels(action, outcome.status.partition(":")[0]).inc()
        log.info(
            "webhook",
            action=action,
            project=outcome.project_id,
            changed=outcome.changed,
            outcome=outcome.status,
        )


def _read(body: bytes) -> Event | None:
    return read_event(parse(body))
