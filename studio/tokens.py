"""Label Studio's two kinds of API token.

A Personal Access Token is a JWT *refresh* token: it is exchanged for an access token that lives for
five minutes and is sent as `Bearer`; sent by itself it is refused. A legacy token is 40 hexadecimal
digits and is sent as `Token`.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

# An access token is renewed this many seconds before its end, so that none expires on the way.
RENEW_BEFORE = 30.0
# Assumed when an access token does not say how long it lives (Label Studio's default is 300).
DEFAULT_LIFETIME = 120.0


class Token(Protocol):
    """Makes the Authorization header; knows whether a refused one can be renewed."""

    def header(self) -> str:
        """The header's value. May exchange tokens, and raise what that call raises."""

    def renew(self, refused: str) -> bool:
        """After a 401 on the header `refused`: True when another try makes sense."""


class TokenMemory(Protocol):
    """Keeps an access token for other processes, so that each needs no exchange of its own."""

    def recall(self) -> tuple[str, float] | None:
        """An access token, and how many seconds it is still good; None when there is none."""

    def keep(self, access: str, seconds: float) -> None:
        """Keep an access token that is good for so many seconds."""


class FixedToken:
    """A header that never changes: a legacy token, or an access token that somebody else renews."""

    def __init__(self, scheme: str, token: str) -> None:
        self._value = f"{scheme} {token}"

    def header(self) -> str:
        """The header's value."""
        return self._value

    def renew(self, refused: str) -> bool:
        """Never: there is nothing to renew it with."""
        return False


class PersonalAccessToken:
    """Exchanges a Personal Access Token for access tokens. Safe to share between threads.

    `exchange` takes the refresh token and returns a new access token.
    """

    def __init__(
        self, token: str, exchange: Callable[[str], str], memory: TokenMemory | None = None
    ) -> None:
        self._token = token
        self._exchange = exchange
        self._memory = memory
        self._lock = threading.Lock()
        self._value = ""
        self._renew_at = 0.0

    def header(self) -> str:
        """The header's value; fetches a new access token when the last one is about to expire."""
        with self._lock:
            if not self._value or time.monotonic() >= self._renew_at:
                kept = self._memory.recall() if self._memory is not None else None
                if kept is None or kept[1] <= RENEW_BEFORE:
                    self._renew()
                else:
                    self._use(*kept)
            return self._value

    def renew(self, refused: str) -> bool:
        """Fetch a new access token in place of the `refused` one."""
        with self._lock:
            # When several threads meet the same 401, the first one renews for all.
            if self._value == refused:
                self._renew()
            return True

    def _renew(self) -> None:
        access = self._exchange(self._token)
        self._use(access, lifetime(access))
        if self._memory is not None:
            self._memory.keep(access, lifetime(access))

    def _use(self, access: str, seconds: float) -> None:
        self._value = f"Bearer {access}"
        self._renew_at = time.monotonic() + max(seconds - RENEW_BEFORE, 1.0)


def make_token(
    token: str, exchange: Callable[[str], str], memory: TokenMemory | None = None
) -> Token:
    """Recognise the kind of `token` by its form.

    Raises ValueError for one that no header can carry.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a Label Studio token is one word of plain characters")
    claims = jwt_claims(token)
    if claims is None:
        return FixedToken("Token", token)
    if claims.get("token_type") == "access":
        return FixedToken("Bearer", token)
    return PersonalAccessToken(token, exchange, memory)


def jwt_claims(token: str) -> dict[str, Any] | None:
    """The claims of a JWT, unverified; None when the text is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def lifetime(access_token: str) -> float:
    """Seconds that an access token lives, by the server's own two times: clocks may differ."""
    claims = jwt_claims(access_token) or {}
    try:
        return float(claims["exp"]) - float(claims["iat"])
    except (KeyError, TypeError, ValueError):
        return DEFAULT_LIFETIME
