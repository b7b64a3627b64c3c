"""Fetches a URL: from Label Studio with the token, from other hosts without it and guarded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpcore
import httpx

from studio.certificates import certificate_problem, trusted_certificates
from studio.errors import StudioError
from studio.http import USER_AGENT, StudioHttp
from studio.images.addresses import CheckedBackend, ForbiddenAddressError
from studio.images.policy import MIB, ImagePolicy, PassingImageError, PermanentImageError

# Seconds without a byte after which a server is given up, if the policy's total allows more.
SILENCE = 10.0
FOREIGN_CONNECTIONS = 32


@dataclass(frozen=True)
class Answer:
    """A server's answer whose body has not been read."""

    status: int
    headers: dict[str, str]  # names in lower case
    chunks: Iterator[bytes]


@contextlib.contextmanager
def get_from_studio(http: StudioHttp, url: str, seconds: float) -> Iterator[Answer]:
    """GET a URL of Label Studio's origin, with the token. Raises PassingImageError."""
    try:
        with http.stream(url, timeout=min(seconds, SILENCE)) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            yield Answer(response.status_code, headers, response.iter_bytes())
    except (StudioError, httpx.HTTPError) as exc:
        raise PassingImageError(f"Label Studio did not send the image: {exc}") from exc


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
    def get(self, url: str, seconds: float) -> Iterator[Answer]:
        """GET `url`. Raises PermanentImageError for a refused address, else PassingImageError."""
        parsed = httpx.URL(url)
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
        try:
            with self._pool.stream(
                "GET", target, headers=headers, extensions={"timeout": timeouts}
            ) as response:
                named = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                yield Answer(response.status, named, response.iter_stream())
        except ForbiddenAddressError as exc:
            raise PermanentImageError(str(exc)) from exc
        except httpcore.TimeoutException as exc:
            raise PassingImageError(f"{parsed.host} did not answer in time") from exc
        except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
            why = certificate_problem(exc) or exc
            raise PassingImageError(f"{parsed.host} can't be reached: {why}") from exc

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def read_body(answer: Answer, policy: ImagePolicy, deadline: float) -> bytes:
    """Read the body within the limits; `deadline` is in `time.monotonic()` seconds.

    Raises PermanentImageError when it is too big, PassingImageError when it takes too long.
    """
    announced = answer.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > policy.max_bytes:
        raise too_big(int(announced), policy)
    body = bytearray()
    for chunk in answer.chunks:
        body += chunk
        if len(body) > policy.max_bytes:
            raise too_big(len(body), policy)
        if time.monotonic() > deadline:
            raise PassingImageError(f"the image took more than {policy.max_seconds:g} s to arrive")
    return bytes(body)


def too_big(size: int, policy: ImagePolicy) -> PermanentImageError:
    """The error for an image of at least `size` bytes."""
    return PermanentImageError(
        f"the image has {size / MIB:.1f} MiB or more; {policy.max_bytes / MIB:g} MiB are allowed"
    )
