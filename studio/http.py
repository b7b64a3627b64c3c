"""Sends HTTP requests to one Label Studio server: token, errors, time spent.

The calls are raw JSON over httpx and not the SDK's client: importing that costs 70 MB and 0.7 s in
every process, and its typed models raise on fields that a newer or older server adds or leaves out.
The SDK is used where it is light and right: parsing label configs.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from studio.certificates import certificate_problem, trusted_certificates
from studio.deadlines import deadline, keep_deadlines
from studio.errors import (
    StudioError,
    StudioNonsense,
    StudioNotFound,
    StudioRejected,
    StudioUnauthorized,
    StudioUnreachable,
)
from studio.tokens import TokenMemory, make_token

# How much of a server's own words goes into an error's message.
MESSAGE_CHARACTERS = 400
USER_AGENT = "label-studio-apprentice"
# Over TLS an idle connection is kept for a second: less than gunicorn's 2, or a request now and
# then goes into a connection that the server is just closing. Without TLS none is kept: the server
# that `label-studio start` runs sends head and body apart, and the second waits 40 ms for the
# delayed acknowledgement of the first on every connection but a new one.
TLS_LIMITS = httpx.Limits(keepalive_expiry=1.0)
PLAIN_LIMITS = httpx.Limits(max_keepalive_connections=0)

EXCHANGE_SECONDS = 20.0  # that getting an access token may take

# A name, or an address of either kind; what httpx makes of anything else has % or [ in it.
HOST = re.compile(rb"[A-Za-z0-9._:-]+")

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Query = Mapping[str, str | int | float | bool]


class StudioHttp:
    """Requests to one Label Studio server, with one token. Safe to share between threads.

    The token goes to the exact origin (scheme, host, port) of `url` and nowhere else: requests are
    built from paths, and redirects are never followed here.
    """

    def __init__(
        self, url: str, token: str, timeout: float = 10.0, memory: TokenMemory | None = None
    ) -> None:
        self.url = normal_url(url)
        self.origin = origin_of(self.url)
        self.timeout = timeout
        self._token = make_token(token, self._exchange, memory)
        self._http = httpx.Client(
            timeout=timeout,
            headers={"User-Agent": USER_AGENT},
            follow_redirects=False,
            cookies=_no_cookies(),
            verify=trusted_certificates(),
            limits=TLS_LIMITS if self.origin[0] == "https" else PLAIN_LIMITS,
        )
        keep_deadlines(self._http)
        # Called before each request that changes something; what it raises stops the request.
        self.before_change: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._seconds_spent = 0.0

    @property
    def seconds_spent(self) -> float:
        """Wall-clock seconds that requests have taken: an upper bound of the server's work."""
        with self._lock:
            return self._seconds_spent

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Query | None = None,
        json: Any = None,
        files: list[tuple[str, tuple[str, bytes, str]]] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request to `path` below the server's URL; return the answer's JSON, None if empty.

        `timeout` (seconds) replaces the client's own for calls that are known to be slow.
        Raises the errors of `studio.errors`.
        """
        request = self._http.build_request(
            method,
            self.url + path,
            params=params,
            json=json,
            files=files,
            timeout=self.timeout if timeout is None else timeout,
        )
        with self.send(request) as response:
            _receive(response)
            raise_for(response)
            if not response.content.strip():
                return None
            try:
                return response.json()
            except ValueError as exc:
                raise StudioNonsense(
                    f"{_where(response)} did not answer with JSON but with {excerpt(response)!r}; "
                    "is this Label Studio's URL?",
                    status=response.status_code,
                ) from exc

    @contextlib.contextmanager
    def stream(
        self, url: str, *, timeout: float | None = None, token: bool = True
    ) -> Iterator[httpx.Response]:
        """GET an absolute URL of this server; yield the answer, whatever its status, body unread.

        Raises ValueError for another origin: the token must not go there.
        """
        if origin_of(url) != self.origin:
            raise ValueError(f"{url} is not on {self.url}")
        request = self._http.build_request(
            "GET",
            url,
            headers={"Accept-Encoding": "identity"},
            timeout=self.timeout if timeout is None else timeout,
        )
        if token:
            with self.send(request) as response:
                yield response
            return
        try:
            response = self._http.send(request, stream=True)
        except httpx.HTTPError as exc:
            raise unreachable(request, exc) from exc
        with contextlib.closing(response):
            yield response

    @contextlib.contextmanager
    def send(self, request: httpx.Request) -> Iterator[httpx.Response]:
        """Send with the token, a second time after a 401 when it can be renewed; count the time."""
        started = time.monotonic()
        try:
            header = self._token.header()
            response = self._send_once(request, header)
            if response.status_code == 401 and self._token.renew(header):
                response.close()
                response = self._send_once(request, self._token.header())
            try:
                yield response
            finally:
                response.close()
        finally:
            self._count(time.monotonic() - started)

    def _send_once(self, request: httpx.Request, header: str) -> httpx.Response:
        if self.before_change is not None and request.method not in READ_METHODS:
            self.before_change()
        request.headers["Authorization"] = header
        try:
            return self._http.send(request, stream=True)
        except httpx.HTTPError as exc:
            raise unreachable(request, exc) from exc

    def _exchange(self, refresh: str) -> str:
        request = self._http.build_request(
            "POST", self.url + "/api/token/refresh/", json={"refresh": refresh}
        )
        try:
            with deadline(time.monotonic() + EXCHANGE_SECONDS):  # others wait for it
                response = self._http.send(request)
        except httpx.HTTPError as exc:
            raise unreachable(request, exc) from exc
        if response.status_code in (400, 401, 403):
            raise StudioUnauthorized(
                f"{self.url} refuses the Personal Access Token ({_words(response)}): "
                "create a new one in Label Studio under Account & Settings",
                status=response.status_code,
            )
        raise_for(response)
        try:
            return str(response.json()["access"])
        except (ValueError, KeyError, TypeError):
            raise StudioNonsense(
                # It may hold a token all the same.
                f"{_where(response)} did not answer with an access token but with "
                f"{len(response.content)} bytes of {response.headers.get('content-type')}",
                status=response.status_code,
            ) from None

    def _count(self, seconds: float) -> None:
        with self._lock:
            self._seconds_spent += seconds


def _no_cookies() -> CookieJar:
    # Label Studio opens a session for a token and would then also accept, and check, its cookie.
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))


def normal_url(url: str) -> str:
    """The URL without a trailing slash. Raises ValueError when it can't be a server's URL."""
    url = url.strip().rstrip("/")
    origin_of(url)
    parsed = httpx.URL(url)
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("Label Studio's URL must have no user, query or fragment")
    return url


def origin_of(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) in normal form. Raises ValueError for what is no http(s) URL."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as exc:
        raise ValueError(f"{url!r} is not a URL: {exc}") from exc
    default_port = {"http": 80, "https": 443}.get(parsed.scheme)
    good_host = HOST.fullmatch(parsed.raw_host)
    if default_port is None or not good_host or not 0 <= (parsed.port or 0) < 65536:
        raise ValueError(f"{url!r} is not an http:// or https:// URL")
    return parsed.scheme, parsed.host.rstrip("."), parsed.port or default_port


def raise_for(response: httpx.Response) -> None:
    """Raise the error that belongs to the status; nothing for 2xx. The body must have been read."""
    status = response.status_code
    if 200 <= status < 300:
        return
    message = f"{_where(response)}: {status}, {_words(response)}"
    if 300 <= status < 400:
        target = response.headers.get("location", "nowhere")
        raise StudioRejected(
            f"{_where(response)} redirects to {target}: give the URL that Label Studio itself has",
            status=status,
        )
    if status == 401:
        raise StudioUnauthorized(message, status=status)
    if status == 404:
        raise StudioNotFound(message, status=status)
    if status in (408, 429) or status >= 500:
        raise StudioUnreachable(message, status=status, retry_after=_retry_after(response))
    if status >= 400:
        raise StudioRejected(message, status=status)
    raise StudioNonsense(message, status=status)


def unreachable(request: httpx.Request, exc: httpx.HTTPError) -> StudioError:
    """The error for a request that got no answer."""
    url = request.url.copy_with(query=None)
    if problem := certificate_problem(exc):
        return StudioUnreachable(f"{url} can't be reached safely: {problem}")
    what = (
        "did not answer in time" if isinstance(exc, httpx.TimeoutException) else "can't be reached"
    )
    return StudioUnreachable(f"{request.method} {url} {what} ({exc or type(exc).__name__})")


def excerpt(response: httpx.Response) -> str:
    """The first characters of a body that has been read; of a page only that it is one."""
    if "html" in response.headers.get("content-type", ""):
        return "an HTML page"
    return response.text[:MESSAGE_CHARACTERS].strip()


def _receive(response: httpx.Response) -> None:
    try:
        response.read()
    except httpx.HTTPError as exc:
        raise unreachable(response.request, exc) from exc


def _where(response: httpx.Response) -> str:
    return f"{response.request.method} {response.request.url.copy_with(query=None)}"


def _words(response: httpx.Response) -> str:
    """The server's own words about its refusal, without its request id and version."""
    try:
        body = response.json()
    except ValueError:
        return excerpt(response) or "no text"
    if not isinstance(body, dict):
        return excerpt(response)
    words = body.get("validation_errors") or body.get("detail") or body
    return str(words)[:MESSAGE_CHARACTERS]


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(float(response.headers["retry-after"]), 0.0)
    except (KeyError, ValueError):
        return None
