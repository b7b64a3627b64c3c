"""Deadlines for whole exchanges over the network.

The timeouts of httpx and httpcore begin anew with each read, so that a server that sends a byte
now and then holds a request for ever. Within `deadline` the name's lookup, connecting, the
handshake, and each read and write of this thread end in time, whatever has arrived.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

# A lookup can't be interrupted: so many may be under way, or left behind by those who waited.
LOOKUPS = threading.BoundedSemaphore(64)
LOOKUP_SECONDS = 30.0

_local = threading.local()


@contextlib.contextmanager
def deadline(at: float) -> Iterator[None]:
    """End this thread's exchanges at that time (monotonic), for a `with` block."""
    before = getattr(_local, "at", None)
    _local.at = at if before is None else min(at, before)
    try:
        yield
    finally:
        _local.at = before


def _left(timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
    """The seconds that an operation may take. Raises `error` when none are left."""
    at = getattr(_local, "at", None)
    if at is None:
        return timeout
    seconds = float(at - time.monotonic())
    if seconds <= 0:
        raise error("the deadline has passed")
    return seconds if timeout is None else min(seconds, timeout)


def lookup(host: str, port: int, timeout: float | None = None) -> list[str]:
    """The addresses of a host, in the system's order of preference.

    Raises httpcore.ConnectTimeout, and httpcore.ConnectError when it can't be resolved.
    """
    seconds = _left(timeout, httpcore.ConnectTimeout)
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host.strip("[]")))]
    if not LOOKUPS.acquire(timeout=LOOKUP_SECONDS if seconds is None else seconds):
        raise httpcore.ConnectTimeout(f"too many names are looked up to resolve {host}")
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))
        except Exception as exc:  # UnicodeError, too, for a name that can't be one
            answer.put(exc)
        finally:
            LOOKUPS.release()

    threading.Thread(target=ask, name="lookup", daemon=True).start()
    try:
        result = answer.get(timeout=_left(timeout, httpcore.ConnectTimeout))
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
    if isinstance(result, Exception):
        raise httpcore.ConnectError(f"{host} can't be resolved") from result
    return result


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore that keep the deadline of the thread that uses them."""

    def __init__(self) -> None:
        self._sockets = httpcore.SyncBackend()

    def addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        """The addresses to try, in order."""
        return lookup(host, port, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers."""
        failure: Exception | None = None
        for address in self.addresses(host, port, timeout):
            left = _left(timeout, httpcore.ConnectTimeout)
            try:
                stream = self._sockets.connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
            else:
                return _Stream(stream)
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a socket of this machine."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._sockets.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        """Wait between two tries to connect."""
        time.sleep(_left(seconds, httpcore.ConnectTimeout) or 0)


class _Stream(httpcore.NetworkStream):
    """A connection that keeps the deadline of the thread that uses it."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def keep_deadlines(client: httpx.Client) -> None:
    """Have a client's connections keep deadlines, those through proxies too.

    httpx has no setting for the network backend of the httpcore pools that it makes.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = DeadlineBackend()
