"""A client of the guests' process."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.guests.answers import GuestSuggestion
from worker.guests.protocol import read_message, write_message

MARGIN = 2.0  # seconds beyond its own deadline that the process may take to answer


class GuestsAwayError(Exception):
    """The guest, or the process of the guests, gave no answer; the message says why."""


class GuestFaultError(GuestsAwayError):
    """The guest's answer was of no use; about other tasks it can be asked at once."""


@dataclass(frozen=True)
class GuestAnswer:
    """A guest's suggestions for tasks, in their order, and the model that made them."""

    model: str  # its key
    version: str | None
    suggestions: Sequence[GuestSuggestion]


class GuestsClient:
    """Asks the guests' process, over its unix socket; one connection a request."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def predict(
        self,
        guest: str,
        project_id: int,
        tasks: Sequence[Any],
        seconds: float,
        *,
        priority: int,
        options: Mapping[str, Any] | None = None,
    ) -> GuestAnswer:
        """A guest's suggestions for tasks of a project.

        Args:
            tasks: Label Studio's JSON of each.
            seconds: to wait at most.
            options: `context` and `params` of a request to /predict.

        Raises:
            GuestsAwayError: there is no answer.
        """
        answer = await self._ask(
            {
                "method": "predict",
                "guest": guest,
                "project": project_id,
                "tasks": list(tasks),
                "seconds": seconds,
                "priority": priority,
                "options": dict(options or {}),
            },
            seconds,
        )
        suggestions = [
            GuestSuggestion(tuple(regions), score) for regions, score in answer["suggestions"]
        ]
        return GuestAnswer(answer["model"], answer["version"], suggestions)

    async def reload(self, guest: str, project_id: int, seconds: float) -> str | None:
        """Have a guest take over what was trained. Returns its version.

        Raises:
            GuestsAwayError: it can't.
        """
        message = {"method": "load", "guest": guest, "project": project_id}
        version: str | None = (await self._ask(message, seconds))["version"]
        return version

    async def health(self) -> bool:
        """Whether the process answers."""
        try:
            await self._ask({"method": "health"}, 1.0)
        except GuestsAwayError:
            return False
        return True

    async def _ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds + MARGIN):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                try:
                    await write_message(writer, message)
                    answer = await read_message(reader)
                finally:
                    writer.close()
        except TimeoutError:
            raise GuestsAwayError("no answer in time") from None
        except (OSError, ValueError) as error:
            raise GuestsAwayError(f"the guests' process doesn't answer ({error})") from error
        if answer is None:
            raise GuestsAwayError("the guests' process has ended")
        if "error" in answer:
            raise (GuestFaultError if answer.get("fault") else GuestsAwayError)(answer["error"])
        result: dict[str, Any] = answer
        return result
