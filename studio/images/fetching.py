"""Fetches a URL: from Label Studio with the token, from other hosts without it and guarded."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpcore
import httpx

from studio.certificates import certificate_problem, trusted_certificates
from studio.deadlines import deadline
from studio.errors import StudioError, StudioUnauthorized
from studio.http import USER_AGENT, StudioHttp
from studio.images.addresses import CheckedBackend, ForbiddenAddressError
from studio.images.content_encoding import BrokenOffError, EncodingError, decoded
from studio.images.policy import MIB, ImagePolicy, PassingImageError, PermanentImageError

# Seconds without a byte after which a server is given up, if the policy's total allows more.
SILENCE = 10.0
FOREIGN_CONNECTIONS = 32


@dataclass(frozen=True)
class Answer:
    """A server's answer whose body has not been read."""

    status: int
    headers: httpx.Headers
    chunks: Iterator[bytes]  # as they were sent, perhaps compressed


@contextlib.contextmanager
def get_from_studio(http: StudioHttp, url: str, until: float, *, token: bool) -> Iterator[Answer]:
    """GET a URL of Label Studio's origin, until that time (monotonic). Raises PassingImageError.

    No message holds what the server sent.
    """
    timeout = min(max(until - time.monotonic(), 0.0), SILENCE)
    try:
        with deadline(until), http.stream(url, timeout=timeout, token=token) as response:
            yield Answer(response.status_code, response.headers, response.iter_raw())
    except StudioUnauthorized as exc:
        raise PassingImageError("Label Studio does not accept our token") from exc
    except (StudioError, httpx.HTTPError) as exc:
        cause = exc.__cause__ if isinstance(exc, StudioError) else exc
        raise PassingImageError(f"Label Studio {_problem(cause or exc)}") from exc


class ForeignGetter:
    """GETs from hosts that are not Label Studio's, to allowed addresses only.

    Proxies from the environment are not used: behind one, the address that is really connected to
    could not be checked. Safe to share between threads.
    """

    def __init__(self, policy: ImagePolicy) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted_certificates(),
            max_connections=FOREIGN_CONNECTIONS,
            keepalive_expiry=5.0,
            network_backend=CheckedBackend(policy.addresses),
        )

    @contextlib.contextmanager
    def get(self, url: str, until: float) -> Iterator[Answer]:
        """GET `url`, until that time (monotonic).

        Raises PermanentImageError for a refused address, else PassingImageError.
        """
        parsed = httpx.URL(url)
        seconds = max(until - time.monotonic(), 0.0)
        wait = min(seconds, SILENCE)
        timeouts = {"connect": wait, "read": wait, "write": wait, "pool": seconds}
        headers: list[tuple[bytes | str, bytes | str]] = [
            ("Host", parsed.netloc),
            ("User-Agent", USER_AGENT),
            ("Accept", "image/*,*/*;q=0.5"),
            ("Accept-Encoding", "identity"),
        ]
        target = httpcore.URL(
            scheme=parsed.raw_scheme,
            host=parsed.raw_host,
            port=parsed.port,
            target=parsed.raw_path,
        )
        options = {"timeout": timeouts}
        try:
            with (
                deadline(until),
                self._pool.stream("GET", target, headers=headers, extensions=options) as response,
            ):
                yield Answer(
                    response.status, httpx.Headers(response.headers), response.iter_stream()
                )
        except ForbiddenAddressError as exc:
            raise PermanentImageError(str(exc)) from exc
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as exc:
            raise PassingImageError(f"{parsed.host} {_problem(exc)}") from exc

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def _problem(exc: BaseException) -> str:
    """What went wrong, without what was sent: the libraries quote headers that they don't like."""
    if certificate := certificate_problem(exc):
        return f"can't be reached: {certificate}"
    if isinstance(exc, httpcore.TimeoutException | httpx.TimeoutException):
        return "did not answer in time"
    if isinstance(exc, httpcore.ProtocolError | httpx.ProtocolError):
        return "sent no valid HTTP, or broke off"
    if isinstance(exc, httpcore.ConnectError | httpx.ConnectError):
        return f"can't be reached: {exc}"
    return f"did not send the image ({type(exc).__name__})"


def read_body(answer: Answer, policy: ImagePolicy, until: float) -> bytes:
    """Read the body within the limits, until that time (monotonic).

    The limit on bytes is on the decoded ones. Raises PermanentImageError when it is too big,
    PassingImageError when it takes too long or breaks off.
    """
    announced = answer.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:18]) > policy.max_bytes:
        raise too_big(int(announced[:18]), policy)
    body = io.BytesIO()
    try:
        for chunk in decoded(answer.chunks, answer.headers.get("content-encoding", "")):
            body.write(chunk)
            if body.tell() > policy.max_bytes:
                raise too_big(body.tell(), policy)
            if time.monotonic() > until:
                raise too_slow(policy)
    except BrokenOffError as exc:
        raise PassingImageError(f"the image can't be decoded: {exc}") from exc
    except EncodingError as exc:
        raise PermanentImageError(f"the image can't be decoded: {exc}") from exc
    return body.getvalue()


def too_big(size: int, policy: ImagePolicy) -> PermanentImageError:
    """The error for an image of at least `size` bytes."""
    return PermanentImageError(
        f"the image has {size / MIB:.1f} MiB or more; {policy.max_bytes / MIB:g} MiB are allowed"
    )


def too_slow(policy: ImagePolicy) -> PassingImageError:
    """The error for an image that took too long, redirects included."""
    return PassingImageError(f"the image took more than {policy.max_seconds:g} s to arrive")
