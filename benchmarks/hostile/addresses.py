"""Attacks by addresses and names; connections of this process are watched and go nowhere."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

from benchmarks.hostile.servers import TOKEN, HostileStudio
from benchmarks.hostile.uris import api_uris
from studio.client import StudioClient
from studio.images.addresses import AddressPolicy
from studio.images.loader import ImageError, ImageLoader, ImagePolicy

PUBLIC, REBOUND = "93.184.216.34", ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1")


@contextlib.contextmanager
def watched(allowed: tuple[str, int] | None = None) -> Iterator[list[str]]:
    """Refuse and note every connection of this process, but to one address."""
    noted: list[str] = []
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if allowed is not None and tuple(address[:2]) == allowed:
            connect(self, address)
            return
        noted.append(str(address[0]))
        raise ConnectionRefusedError("the benchmark lets nothing out")

    with mock.patch.object(socket.socket, "connect", refuse):
        yield noted


def try_addresses(studio: HostileStudio, uris: list[str]) -> tuple[int, int]:
    """Fetch all URIs, each also behind a redirect; (how many, forbidden connections)."""
    policy = AddressPolicy()
    with StudioClient(studio.url, TOKEN) as client, watched(("127.0.0.1", studio.port)) as noted:
        loader = ImageLoader(client, ImagePolicy(max_seconds=3))
        for number, uri in enumerate([*uris, *api_uris(studio.url)]):
            path = f"/data/upload/1/{number}.jpg"
            studio.redirects[path] = uri
            for each in (uri, path):
                with contextlib.suppress(ImageError):
                    loader.fetch(each, 1)
        loader.close()
        return 2 * (number + 1), sum(not policy.allows("", address) for address in noted)


def try_names(count: int) -> tuple[int, int]:
    """Fetch from names that answer differently each time; (how many, forbidden connections)."""
    asked: Counter[str] = Counter()

    def answer(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host == PUBLIC:  # when the checked address is connected to
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked[host] += 1
        address = REBOUND[asked[host] % len(REBOUND)]
        mixed = [PUBLIC, address] if len(host) % 2 else [address, PUBLIC]
        found = ([PUBLIC], [address], mixed)[asked[host] % 3]
        return [
            (
                socket.AF_INET6 if ":" in each else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (each, port),
            )
            for each in found
        ]

    policy = ImagePolicy(max_seconds=3)
    with mock.patch.object(socket, "getaddrinfo", answer), watched() as noted:
        loader = ImageLoader(None, policy)
        for number in range(count):
            for _ in range(6):
                with contextlib.suppress(ImageError):
                    loader.fetch(f"http://name{'x' * (number % 7)}{number}.example/a.jpg", 1)
        loader.close()
    return count, sum(address != PUBLIC for address in noted)
