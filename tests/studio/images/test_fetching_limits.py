"""Bytes and seconds that an image may take, from Label Studio and from anybody else."""

import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from studio.client import StudioClient
from studio.images.loader import ImageLoader, ImagePolicy, PassingImageError, PermanentImageError
from tests.support.scripted_studio import IMAGE, LOCAL, UPLOAD, Reply, Request, ScriptedServer


def test_an_announced_size_over_the_limit_is_not_downloaded(
    server: ScriptedServer, loader: ImageLoader
) -> None:
    server.on(UPLOAD, Reply(200, IMAGE, {"Content-Length": "100001"}))
    with pytest.raises(PermanentImageError, match="MiB are allowed"):
        loader.fetch(UPLOAD, 1)


@pytest.mark.parametrize("who", ["studio", "stranger"])
def test_an_endless_body_is_cut_at_the_limit(
    server: ScriptedServer, stranger: ScriptedServer, loader: ImageLoader, who: str
) -> None:
    sent = 0
    ended = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        try:
            while sent < 100_000_000:
                sent += handler.wfile.write(b"x" * 65536)
        finally:
            ended.set()

    asked = server if who == "studio" else stranger
    asked.on(UPLOAD, Reply(200, write=endless))
    with pytest.raises(PermanentImageError, match="MiB are allowed"):
        loader.fetch(asked.url + UPLOAD, 1)
    assert ended.wait(20)
    assert sent < 100_000_000


@pytest.mark.parametrize("who", ["studio", "stranger"])
def test_a_body_that_drips_is_given_up(
    server: ScriptedServer, stranger: ScriptedServer, client: StudioClient, who: str
) -> None:
    asked = server if who == "studio" else stranger

    def drip(handler: BaseHTTPRequestHandler) -> None:
        while not asked.closing.wait(0.02):
            handler.wfile.write(b"x")

    asked.on(UPLOAD, Reply(200, write=drip))
    loader = ImageLoader(client, ImagePolicy(addresses=LOCAL, max_seconds=0.3))
    started = time.monotonic()
    with pytest.raises(PassingImageError):
        loader.fetch(asked.url + UPLOAD, 1)
    assert time.monotonic() - started < 30
    loader.close()


@pytest.mark.parametrize("who", ["studio", "stranger"])
def test_silence_is_passing(
    server: ScriptedServer, stranger: ScriptedServer, client: StudioClient, who: str
) -> None:
    asked = server if who == "studio" else stranger

    def silent(_request: Request) -> Reply:
        asked.closing.wait(30)
        return Reply(200, IMAGE)

    asked.on(UPLOAD, silent)
    loader = ImageLoader(client, ImagePolicy(addresses=LOCAL, max_seconds=0.2))
    with pytest.raises(PassingImageError, match="in time"):
        loader.fetch(asked.url + UPLOAD, 1)
    loader.close()
    asked.closing.set()


@pytest.mark.parametrize("who", ["studio", "stranger"])
def test_a_connection_that_breaks_off_is_passing(
    server: ScriptedServer, stranger: ScriptedServer, loader: ImageLoader, who: str
) -> None:
    asked = server if who == "studio" else stranger
    half = Reply(
        200, headers={"Content-Length": "1000"}, write=lambda handler: _write(handler, b"half")
    )
    asked.on(UPLOAD, half)
    with pytest.raises(PassingImageError):
        loader.fetch(asked.url + UPLOAD, 1)


def test_nobody_there_is_passing(client: StudioClient, loader: ImageLoader) -> None:
    with ScriptedServer() as gone:
        url = gone.url
    with pytest.raises(PassingImageError, match="reached"):
        loader.fetch(f"{url}/a.jpg", 1)


def _write(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    handler.wfile.write(data)
