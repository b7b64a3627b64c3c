"""Refuses what a web page of another site makes a browser send.

A browser reaches a server that listens on loopback, and it sends along a password that it knows.
Three things tell its requests from those of Label Studio and of people's own programs: the name in
`Host`, which is a foreign one when a page has its own name resolved to us (DNS rebinding); `Origin`
and `Sec-Fetch-Site`, which browsers set themselves; and `Content-Type`, since a page may send JSON
to another site only with that site's consent.
"""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.http.auth import is_webhook
from backend.http.error_responses import error_response
from services.connections.registration import SECRET_HEADER
from store.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = (80, 443)
# Nobody can register a name below these, so no page on the internet has one.
PRIVATE_SUFFIXES = (
    "localhost",
    "local",
    "internal",
    "localdomain",
    "lan",
    "home.arpa",
    "test",
    "svc",
)


class AllowedHosts:
    """The host names under which we may be called."""

    def __init__(self, names: Iterable[str], public_url: str = "") -> None:
        given = {name.lower().strip().rstrip(".") for name in names} - {""}
        self._any = "*" in given
        self._below = tuple(f".{name.lstrip('*.')}" for name in given if name[0] in "*.")
        self._public = split_authority(urlsplit(public_url).netloc)
        self._names = given | {self._public[0] or ""}

    @classmethod
    def of(cls, settings: Settings) -> "AllowedHosts":
        """The hosts of the settings: of our own URL and address, and those that are listed."""
        listed = settings.allowed_hosts.split(",")
        return cls([settings.host, socket.gethostname(), *listed], settings.url)

    def allows(self, authority: str) -> bool:
        """Whether a `Host` header names us.

        Addresses, names without a dot and names that can't be registered are always allowed: no
        page on the internet has one of these.
        """
        host, _ = split_authority(authority)
        if host is None:
            return False
        if self._any or host in self._names or host.endswith(self._below):
            return True
        private = any(host == end or host.endswith(f".{end}") for end in PRIVATE_SUFFIXES)
        return private or "." not in host or _is_address(host)

    def is_public_url(self, authority: str) -> bool:
        """Whether it is the host and port of our public URL."""
        return split_authority(authority) == self._public


def split_authority(authority: str) -> tuple[str | None, int | None]:
    """Split `HOST[:PORT]`: the lower-case host, None if malformed; the port, None if a default."""
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return None, None
    if parts.netloc != authority or parts.username is not None:
        return None, None
    return (parts.hostname or "").rstrip(".") or None, None if port in DEFAULT_PORTS else port


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class BrowserGuard:
    """ASGI middleware that refuses requests which another site's page could have caused."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403 or 415."""
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await error_response(*refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        # Who knows our password, or a webhook's secret, is no foreign page: it may call us by any
        # name. The webhook's handler compares the secret.
        known = scope["state"]["credentials"] or (
            is_webhook(scope["path"]) and SECRET_HEADER in headers
        )
        if not known:
            for host in headers.getlist("host"):
                if not self._hosts.allows(host):
                    return 403, (
                        f"the host {host[:100]!r} is none of ours: call us by the name of "
                        "APPRENTICE_PUBLIC_URL, or add it to APPRENTICE_ALLOWED_HOSTS"
                    )
        if scope["method"] in SAFE_METHODS:
            return None
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "a page of another site may change nothing here"
        if any(not self._is_own(origin, headers) for origin in headers.getlist("origin")):
            return 403, (
                "a page of another origin may change nothing here; where a proxy changes our name, "
                "set APPRENTICE_PUBLIC_URL"
            )
        if not _is_json(headers):
            return 415, "the body must be JSON, with Content-Type: application/json"
        return None

    def _is_own(self, origin: str, headers: Headers) -> bool:
        """Whether an `Origin` is the one that the request goes to, also behind a proxy.

        A foreign page can't set the proxy's header: a browser would ask us for consent first.
        """
        authority = origin.partition("://")[2]
        ours = [*headers.getlist("host"), *headers.getlist("x-forwarded-host")]
        return self._hosts.allows(authority) and (
            self._hosts.is_public_url(authority)
            or split_authority(authority) in map(split_authority, ours)
        )


def _is_json(headers: Headers) -> bool:
    """Whether the body is declared as JSON; a request without one may declare nothing."""
    declared = headers.get("content-type")
    if declared is None:
        return headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    media = declared.partition(";")[0].strip().lower()
    return media == "application/json" or media.endswith("+json")
