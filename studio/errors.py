"""Errors of calls to Label Studio, by whether trying again later can help."""

from __future__ import annotations

from enum import Enum


class Refusal(Enum):
    """Why Label Studio refuses to connect a backend or a webhook: words in its answer."""

    PRIVATE_ADDRESS = "reserved network address"  # loopback too
    UNRESOLVED_HOST = "resolve hostname"
    WRONG_PASSWORD = "authentication parameters"  # noqa: S105 - its words
    UNREACHABLE_BACKEND = "health check failed"
    INVALID_URL = "valid URL"


class StudioError(Exception):
    """A call to Label Studio failed.

    `status` is the HTTP status that it answered with, None when no answer came.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def refusal(self) -> Refusal | None:
        """Why Label Studio refused, None for any other words."""
        message = str(self)
        return next((refusal for refusal in Refusal if refusal.value in message), None)


class StudioUnreachable(StudioError):
    """A passing fault: no connection, a timeout, a 429 or a 5xx. Try again later.

    `retry_after` is how many seconds the server asked us to wait, None when it did not say.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class StudioNonsense(StudioUnreachable, ValueError):
    """JSON that is not Label Studio's: a proxy's page, or a newer version's shape."""


class StudioUnauthorized(StudioError):
    """The token is not accepted: wrong, revoked, expired, or of a kind that is switched off."""


class StudioNotFound(StudioError):
    """The project, task, or other object does not exist, or this token may not see it."""


class StudioRejected(StudioError):
    """Label Studio understood the request and refused it; the message holds its own words."""
