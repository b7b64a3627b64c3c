"""Error messages of connecting: Label Studio's refusal, and the remedy."""

from store.projects.connections import StudioConnection
from studio.errors import (
    Refusal,
    StudioError,
    StudioNotFound,
    StudioRejected,
    StudioUnauthorized,
    StudioUnreachable,
)
from studio.tokens import jwt_claims

BACKEND_SWITCH = "ML_BLOCK_LOCAL_IP"
WEBHOOK_SWITCH = "SSRF_PROTECTION_ENABLED"
LEGACY_OFF = (
    "this is a legacy token, and new installations have these switched off: create a Personal "
    "Access Token in Label Studio under Account & Settings (or allow legacy tokens for the "
    "organization)"
)


class ConnectingError(StudioError):
    """A project could not be connected or disconnected; the message says what to do."""


def explain(
    error: StudioError, connection: StudioConnection, url: str, ls_project_id: int
) -> ConnectingError:
    """The error with a message that says what to do.

    Args:
        url: ours, as it was to be registered.
    """
    return ConnectingError(_words(error, connection, url, ls_project_id), status=error.status)


def _words(error: StudioError, connection: StudioConnection, url: str, ls_project_id: int) -> str:
    text = str(error)
    if isinstance(error, StudioUnauthorized):
        return unauthorized(error, connection)
    if isinstance(error, StudioNotFound):
        return (
            f"Label Studio at {connection.url} has no project {ls_project_id}, "
            "or this token's owner may not see it"
        )
    if error.refusal is Refusal.WRONG_PASSWORD:
        return (
            f"Apprentice at {url} refused Label Studio: give this command the same BASIC_AUTH_USER "
            "and BASIC_AUTH_PASS as the running Apprentice"
        )
    if isinstance(error, StudioUnreachable) and error.status is None:
        return f"Label Studio at {connection.url} can't be reached: is it running? ({text})"
    return text


def unauthorized(error: StudioError, connection: StudioConnection) -> str:
    """The message for a token that Label Studio refuses."""
    if jwt_claims(connection.token) is None:
        return f"Label Studio at {connection.url} refuses the token: {LEGACY_OFF}"
    return f"Label Studio at {connection.url} refuses the token: {error}"


def backend_unreached(error: StudioError, url: str) -> str:
    """Why Label Studio doesn't reach our backend `url`.

    Raises:
        StudioError: the error, where it says nothing of `url`: the token, the password, an outage.
    """
    match error.refusal:
        case Refusal.PRIVATE_ADDRESS:
            return f"it refuses {url}, a private address ({BACKEND_SWITCH} is on)"
        case Refusal.UNREACHABLE_BACKEND:
            return f"nothing answers it at {url} (is `apprentice up` running?)"
    return _unreached(error, url)


def webhook_unreached(error: StudioError, url: str) -> str:
    """Why Label Studio takes no webhook to `url`. Raises as `backend_unreached` does."""
    match error.refusal:
        case Refusal.PRIVATE_ADDRESS:
            return f"its webhooks go to no private address ({WEBHOOK_SWITCH} is on)"
        case Refusal.INVALID_URL:
            return f"its webhooks need a host with a dot, or localhost, not {url}"
    return _unreached(error, url)


def _unreached(error: StudioError, url: str) -> str:
    if error.refusal is Refusal.UNRESOLVED_HOST:
        return f"it doesn't know the host of {url} (APPRENTICE_PUBLIC_URL)"
    if error.refusal is Refusal.WRONG_PASSWORD:
        raise error
    # It answered the calls before: a fault of its own is one of calling us.
    is_fault = isinstance(error, StudioUnreachable) and (error.status or 0) >= 500
    if is_fault or isinstance(error, StudioRejected | StudioNotFound):
        return str(error)
    raise error
