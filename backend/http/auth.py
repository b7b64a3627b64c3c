"""Basic authentication, and the addresses where the server may listen without it."""

import base64
import binascii
import contextlib
import hmac
import ipaddress
import re

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.http.login_throttle import WRONG_SECONDS, LoginThrottle
from store.settings import Settings

# Label Studio sends no credentials with webhooks; their handler asks for the secret header.
WEBHOOK_PATH = re.compile(r"(/c/[^/]+)?/webhook")


class OpenBindingError(Exception):
    """Other machines could reach the server without a password."""


def check_binding(settings: Settings) -> None:
    """Refuse to listen on a non-loopback address without basic authentication.

    Raises:
        OpenBindingError: the message says what to set.
    """
    user, password = settings.basic_auth_user, settings.basic_auth_pass
    if bool(user) != bool(password):
        raise OpenBindingError("set both BASIC_AUTH_USER and BASIC_AUTH_PASS, or neither")
    if user or settings.allow_open or is_loopback(settings.host):
        return
    raise OpenBindingError(
        f"{settings.host} can be reached from other machines: set BASIC_AUTH_USER and "
        "BASIC_AUTH_PASS, or APPRENTICE_ALLOW_OPEN=true if something else keeps strangers out"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Credentials:
    """The accepted user and password."""

    def __init__(self, user: str, password: str) -> None:
        pair = f"{user}:{password}"
        self._accepted = [pair.encode()]
        with contextlib.suppress(UnicodeEncodeError):
            # Browsers send UTF-8; the client inside Label Studio sends Latin-1.
            self._accepted.append(pair.encode("latin-1"))

    @classmethod
    def of(cls, settings: Settings) -> "Credentials | None":
        """The credentials of the settings; None when no password is needed."""
        user, password = settings.basic_auth_user, settings.basic_auth_pass
        if not user or password is None:
            return None
        return cls(user, password.get_secret_value())

    def accept(self, header: str | None) -> bool:
        """Whether an Authorization header has these credentials; compared in constant time."""
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        # No short cut: every comparison takes its time.
        return sum(hmac.compare_digest(given, accepted) for accepted in self._accepted) > 0


def same_secret(given: str | None, expected: str) -> bool:
    """Whether the secret is the expected one; compared in constant time."""
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())


def is_webhook(path: str) -> bool:
    """Whether it is the path of a webhook, of any connection."""
    return WEBHOOK_PATH.fullmatch(path) is not None


class BasicAuth:
    """ASGI middleware: 401 without the credentials, on every path but the webhook's.

    The request's `state.authenticated` says whether they were there (or none are needed), and
    `state.credentials` whether they were there and needed.
    """

    def __init__(self, app: ASGIApp, credentials: Credentials | None) -> None:
        self._app = app
        self._credentials = credentials
        self._throttle = LoginThrottle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401; 429 after many wrong passwords."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["authenticated"] = state["credentials"] = False
        if self._credentials is None:
            state["authenticated"] = True
        elif (header := Headers(scope=scope).get("authorization")) is not None:
            address = (scope.get("client") or ("",))[0]
            if self._throttle.blocks(address):
                await _TOO_MANY(scope, receive, send)
                return
            accepted = self._credentials.accept(header)
            state["authenticated"] = state["credentials"] = accepted
            if not self._throttle.passes(address, accepted=accepted):
                await _TOO_MANY(scope, receive, send)
                return
        if state["authenticated"] or is_webhook(scope["path"]):
            await self._app(scope, receive, send)
            return
        await _REFUSED(scope, receive, send)


_REFUSED = JSONResponse(
    {"error": "user and password are wrong or missing: set them for the backend"},
    status_code=401,
    headers={"WWW-Authenticate": 'Basic realm="apprentice", charset="UTF-8"'},
)
_TOO_MANY = JSONResponse(
    {"error": "too many wrong passwords from this address: wait a minute"},
    status_code=429,
    headers={"Retry-After": str(int(WRONG_SECONDS))},
)
