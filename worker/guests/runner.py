"""A thread that owns a guest: answers requests by priority, and starts the guest again."""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from services.guests.answers import GuestSuggestion, WrongAnswerError, reasons_of
from services.guests.specification import GuestSpec
from services.guests.state import FAILED, READY, STARTING, GuestStatus, LoadedModel
from store.settings import Settings
from worker.guests.priority import ASKED
from worker.guests.process import GuestError, GuestLostError
from worker.guests.warm_guest import LOAD_SECONDS, Model, WarmGuest

log = structlog.get_logger()

WAITS = (0.0, 1.0, 5.0, 15.0, 60.0, 300.0)  # seconds until the next start, by failures in a row
PATIENCE = 5.0  # seconds that a request waits for a guest that is being started
HEALTHY = 60.0  # seconds without a failure after which the waits begin anew
LONGEST_REASON = 1_000  # characters

Answer = tuple[LoadedModel, list[GuestSuggestion]]


class GuestUnavailableError(Exception):
    """The guest can't answer now; the message says why."""


class GuestFaultError(GuestUnavailableError):
    """The guest's answer was of no use; about other tasks it can be asked at once."""


@dataclass(order=True)
class _Request:
    priority: int
    number: int
    model: Model = field(compare=False)
    tasks: list[Any] | None = field(compare=False)  # None: only load the model
    options: dict[str, Any] = field(compare=False)
    give_up: float = field(compare=False)  # monotonic; then nobody waits for the answer
    future: "Future[Answer]" = field(compare=False)


class GuestRunner:
    """Runs one guest. Requests are answered one at a time, by priority.

    Args:
        on_change: called with the new status, from the guest's thread.
        on_load: called with a project's id and its model whenever that has answered.
    """

    def __init__(
        self,
        spec: GuestSpec,
        settings: Settings,
        on_change: Callable[[GuestStatus], None],
        on_load: Callable[[int, LoadedModel], None],
    ) -> None:
        self.spec = spec
        self.status = GuestStatus.of(spec)
        self._settings = settings
        self._on_change, self._on_load = on_change, on_load
        self._queue: queue.PriorityQueue[_Request] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._guest: WarmGuest | None = None
        self._told: dict[int, LoadedModel] = {}  # by `on_load`
        self._failures, self._failed_at, self._start_at = 0, 0.0, 0.0
        self._since = time.monotonic()  # of the present state
        self._stopped = threading.Event()
        # Its end kills the process (parent_death), so it lives as long as this process.
        self._thread = threading.Thread(target=self._run, name=f"guest-{spec.name}", daemon=True)

    def start(self) -> None:
        """Start the thread, and with it the guest."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the guest; waiting requests get no answer."""
        self._stopped.set()
        self._thread.join()

    def ask(
        self,
        model: Model,
        tasks: list[Any] | None,
        *,
        priority: int = ASKED,
        seconds: float = LOAD_SECONDS,
        **options: Any,
    ) -> "Future[Answer]":
        """Ask for suggestions for tasks, or (None) only load the newest model.

        Args:
            seconds: after which nobody waits for the answer any more.
            options: `context` and `params` of a request to /predict.

        Returns:
            The model that answered, and its suggestions. The future raises GuestUnavailableError.
        """
        future: Future[Answer] = Future()
        if tasks is not None and (reason := self._why_not_now()):
            future.set_exception(GuestUnavailableError(reason))
            return future
        give_up = time.monotonic() + seconds
        number = next(self._numbers)
        self._queue.put(_Request(priority, number, model, tasks, options, give_up, future))
        return future

    def _why_not_now(self) -> str | None:
        if self.status.state == READY:
            return None
        if self.status.state == STARTING and time.monotonic() - self._since < PATIENCE:
            return None
        return f"{self.spec.name} {self._state_in_words()}"

    def _state_in_words(self) -> str:
        if self.status.state == FAILED:
            return f"is started again soon: {self.status.reason}"
        return "is being started"

    # The guest's thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            if self._guest is None and time.monotonic() >= self._start_at:
                self._start()
            with suppress(queue.Empty):
                self._serve(self._queue.get(timeout=0.1))
        if self._guest is not None:
            self._guest.kill()

    def _start(self) -> None:
        self._change(state=STARTING)
        try:
            self._guest = WarmGuest(self.spec, self._settings)
        except (GuestError, GuestLostError, OSError) as error:
            self._fail(f"it can't be loaded: {error}")
            return
        about = self._guest.description
        log.info("guest loaded", guest=self.spec.name, **about)
        self._change(state=READY, style=about["style"], learns=about["fits"])

    def _serve(self, request: _Request) -> None:
        if not request.future.set_running_or_notify_cancel():
            return
        try:
            answer = self._answer(request)
        except (GuestError, WrongAnswerError) as error:
            one = request.tasks is not None and len(request.tasks) == 1
            self._note(str(error), failed=int(one))  # several are asked again, one by one
            request.future.set_exception(GuestFaultError(f"{self.spec.name}: {error}"))
            return
        except GuestUnavailableError as error:  # no fault of an answer
            reason = str(error)
        except (GuestLostError, OSError) as error:
            self._change(failed=self.status.failed + len(request.tasks or ()))
            self._fail(str(error))
            reason = str(error)
        except Exception as error:
            log.exception("guest's request failed", guest=self.spec.name)
            reason = repr(error)
        else:
            request.future.set_result(answer)
            return
        request.future.set_exception(GuestUnavailableError(f"{self.spec.name}: {reason}"))

    def _answer(self, request: _Request) -> Answer:
        if self._guest is None:
            raise GuestUnavailableError(f"it {self._state_in_words()}")
        if time.monotonic() > request.give_up:
            raise GuestUnavailableError("it was busy with other requests for too long")
        if request.tasks is None:
            loaded = self._guest.load(request.model)
            self._tell(request.model, loaded)
            return loaded, []
        loaded = self._guest.current(request.model)
        self._tell(request.model, loaded)
        suggestions = self._guest.predict(request.model, request.tasks, request.options)
        if time.monotonic() - self._failed_at > HEALTHY:
            self._failures = 0
        self._change(answered=self.status.answered + len(suggestions))
        for reason in reasons_of(suggestions):
            self._note(reason)
        return loaded, suggestions

    def _tell(self, model: Model, loaded: LoadedModel) -> None:
        if self._told.get(model.project_id) != loaded:
            self._on_load(model.project_id, loaded)
            self._told[model.project_id] = loaded

    # Its state, for people

    def _change(self, **changes: Any) -> None:
        if changes.get("state", self.status.state) != self.status.state:
            self._since = time.monotonic()
        self.status = replace(self.status, **changes)
        self._on_change(self.status)

    def _note(self, reason: str, failed: int = 0) -> None:
        """Note a fault of an answer; it is logged once in a row."""
        reason = reason[:LONGEST_REASON]
        if reason != self.status.reason:
            log.warning("guest's answer is of no use", guest=self.spec.name, reason=reason)
        self._change(reason=reason, reason_at=time.time(), failed=self.status.failed + failed)

    def _fail(self, reason: str) -> None:
        """Note that the process is gone; it is started again after a wait that grows."""
        if self._guest is not None:
            self._guest.kill()
        self._guest, self._failed_at = None, time.monotonic()
        wait = WAITS[min(self._failures, len(WAITS) - 1)]
        self._failures += 1
        self._start_at = time.monotonic() + wait
        log.warning("guest stopped", guest=self.spec.name, reason=reason, restart_in=wait)
        self._change(
            state=FAILED,
            reason=reason[:LONGEST_REASON],
            reason_at=time.time(),
            restarts=self.status.restarts + 1,
        )
