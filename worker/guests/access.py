"""Access to guests' suggestions: the stored ones, and the process that makes new ones."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.guests.project_guests import Answers, ProjectGuests
from services.guests.specification import GuestSpec, guest_specs
from store.predictions.guest_predictions import GuestPrediction, GuestPredictions
from store.settings import Settings
from store.tasks.units import TaskId
from worker.guests.client import GuestFaultError, GuestsAwayError, GuestsClient
from worker.guests.socket_path import socket_path

BATCH = 8  # tasks in one request to a guest: others get their turn in between
LEAST_SECONDS = 0.2  # left until a deadline, or a batch isn't begun


@dataclass(frozen=True)
class Asked:
    """What a guest answered: its suggestions, and why some are missing.

    Attributes:
        away: there is no use in asking it about others now.
    """

    answers: Mapping[TaskId, GuestPrediction]
    reason: str | None = None
    away: bool = False


@dataclass(frozen=True)
class GuestAccess:
    """The guests of the settings, and their suggestions."""

    specs: tuple[GuestSpec, ...]
    predictions: GuestPredictions
    client: GuestsClient

    @classmethod
    def open(cls, settings: Settings) -> "GuestAccess | None":
        """Open it; None when the settings name no guest.

        Raises:
            GuestSettingError: they name one that can't be.
        """
        if not settings.guests:
            return None
        specs = guest_specs(settings)
        return cls(specs, GuestPredictions(settings), GuestsClient(socket_path(settings)))

    async def complete(
        self,
        guests: ProjectGuests,
        answers: Answers,
        tasks: Mapping[TaskId, Any],
        deadline: float,
        *,
        priority: int,
        params: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Ask the guests for the suggestions that `answers` lacks, and add them there.

        Args:
            tasks: {task: Label Studio's JSON of it}.
            deadline: of the monotonic clock.
            params: of a request to /predict.

        Returns:
            Why some are still missing, in words.
        """

        options = {"params": dict(params or {})}

        async def ask(guest: str) -> str | None:
            missing = guests.missing(answers, guest)
            reason = None
            for start in range(0, len(missing), BATCH):
                batch = {task: tasks[task] for task in missing[start : start + BATCH]}
                asked = await self.ask(
                    guests.project_id, guest, batch, deadline, priority=priority, options=options
                )
                for task, prediction in asked.answers.items():
                    answers[task][guest] = prediction
                reason = reason or asked.reason
                if asked.away:
                    break
            return reason

        reasons = await asyncio.gather(*(ask(spec.name) for spec in guests.specs))
        return list(dict.fromkeys(reason for reason in reasons if reason))

    async def ask(
        self,
        project_id: int,
        guest: str,
        tasks: Mapping[TaskId, Any],
        deadline: float,
        *,
        priority: int,
        options: Mapping[str, Any] | None = None,
    ) -> Asked:
        """Ask a guest about tasks; where its answer is of no use, about one after the other.

        So one that it can't read doesn't cost the others.
        """
        seconds = deadline - time.monotonic()
        if seconds < LEAST_SECONDS:
            return Asked({}, f"{guest} was not ready in time", away=True)
        try:
            answer = await self.client.predict(
                guest, project_id, list(tasks.values()), seconds, priority=priority, options=options
            )
        except GuestFaultError as error:
            if len(tasks) == 1:
                return Asked({}, str(error))
        except GuestsAwayError as error:
            return Asked({}, str(error), away=True)
        else:
            given = zip(tasks, answer.suggestions, strict=True)
            return Asked({task: GuestPrediction(list(s.regions), s.score) for task, s in given})
        answers: dict[TaskId, GuestPrediction] = {}
        reason = None
        for task in tasks:
            asked = await self.ask(
                project_id, guest, {task: tasks[task]}, deadline, priority=priority, options=options
            )
            answers |= asked.answers
            reason = reason or asked.reason
            if asked.away:
                return Asked(answers, reason, away=True)
        return Asked(answers, reason)

    async def interact(
        self,
        guests: ProjectGuests,
        task: Any,
        deadline: float,
        *,
        priority: int,
        params: Mapping[str, Any],
    ) -> tuple[GuestPrediction | None, list[str]]:
        """Ask the guests, one after the other, what they make of an annotator's regions.

        Returns:
            The first answer that has regions, or else the last one; and why others have none.
        """
        others = {name: value for name, value in params.items() if name != "context"}
        options = {"context": params.get("context"), "params": others}
        last: GuestPrediction | None = None
        reasons: list[str] = []
        for spec in guests.specs:
            seconds = max(deadline - time.monotonic(), LEAST_SECONDS)
            try:
                answer = await self.client.predict(
                    spec.name,
                    guests.project_id,
                    [task],
                    seconds,
                    priority=priority,
                    options=options,
                )
            except GuestsAwayError as error:
                reasons.append(str(error))
                continue
            suggestion = answer.suggestions[0]
            last = GuestPrediction(list(suggestion.regions), suggestion.score)
            if last.regions:
                break
        return last, reasons


def studio_tasks(data: Mapping[TaskId, Mapping[str, Any]]) -> dict[TaskId, dict[str, Any]]:
    """Tasks as Label Studio would send them, from what is stored of them."""
    return {task: {"id": task, "data": dict(values)} for task, values in data.items()}
