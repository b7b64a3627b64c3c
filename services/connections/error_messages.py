"""Error messages of connecting: Label Studio's refusal, and the remedy."""

from store.projects.connections import StudioConnection
from studio.errors import (
    Refusal,
    StudioError,
    StudioNotFound,
    StudioUnauthorized,
    StudioUnreachable,
)
from studio.tokens import jwt_claims

SWITCHES = "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false"
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
    if error.refusal is Refusal.PRIVATE_ADDRESS:
        return (
            f"Label Studio refuses {url}, a private or loopback address: start Label Studio with "
            f"{SWITCHES} (both), then run this again"
        )
    if error.refusal is Refusal.UNRESOLVED_HOST:
        return (
            f"Label Studio's machine doesn't know the host of {url}: set APPRENTICE_PUBLIC_URL to "
            "an address under which it reaches Apprentice"
        )
    if error.refusal is Refusal.WRONG_PASSWORD:
        return (
            f"Apprentice at {url} refused Label Studio: give this command the same BASIC_AUTH_USER "
            "and BASIC_AUTH_PASS as the running Apprentice"
        )
    if error.refusal is Refusal.UNREACHABLE_BACKEND:
        return (
            f"Label Studio can't reach Apprentice at {url}: is `apprentice up` running, and is "
            "this its address as seen from Label Studio's machine? If not, set "
            f"APPRENTICE_PUBLIC_URL. ({text})"
        )
    if isinstance(error, StudioUnreachable) and error.status is None:
        return f"Label Studio at {connection.url} can't be reached: is it running? ({text})"
    return text


def unauthorized(error: StudioError, connection: StudioConnection) -> str:
    """The message for a token that Label Studio refuses."""
    if jwt_claims(connection.token) is None:
        return f"Label Studio at {connection.url} refuses the token: {LEGACY_OFF}"
    return f"Label Studio at {connection.url} refuses the token: {error}"


def webhook_refusal(error: StudioError, url: str, reconcile_seconds: float) -> str:
    """The message for a webhook that Label Studio refuses."""
    text = str(error)
    if error.refusal is Refusal.PRIVATE_ADDRESS:
        why = "start Label Studio with SSRF_PROTECTION_ENABLED=false"
    elif error.refusal is Refusal.INVALID_URL:
        why = "its host needs a dot (or to be localhost): set APPRENTICE_PUBLIC_URL accordingly"
    else:
        why = text
    return (
        f"Label Studio refuses the webhook {url}: {why}. Until then labels are only found by "
        f"looking every {reconcile_seconds:g} s"
    )
