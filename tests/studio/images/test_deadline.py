"""One deadline for a whole image, wherever a server drips; and no word of what it sent."""

import socket
import threading
import time
from collections.abc import Callable

import httpcore
import pytest

from studio.client import StudioClient
from studio.deadlines import DeadlineBackend, deadline, lookup
from studio.images.loader import ImageError, ImageLoader, ImagePolicy, PassingImageError
from tests.support.raw_server import RawServer
from tests.support.scripted_studio import LEGACY_TOKEN, LOCAL, UPLOAD

SECONDS = 0.4
LONG = 20.0  # seconds; the servers below would go on for ever
OK = b"HTTP/1.1 200 OK\r\n"


def drips_status(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 ")
    server.drip(connection, b"O")


def drips_headers(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(OK)
    server.drip(connection, b"X-A: b\r\n")


def drips_one_header(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(OK + b"X-A: ")
    server.drip(connection, b"b")


def drips_early_answers(server: RawServer, connection: socket.socket) -> None:
    server.drip(connection, b"HTTP/1.1 103 Early Hints\r\n\r\n")


def drips_body(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Length: 100000\r\n\r\n")
    server.drip(connection, b"x")


def drips_chunks(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    server.drip(connection, b"1\r\nx\r\n")


def drips_an_error(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n")
    server.drip(connection, b"x")


def says_nothing(server: RawServer, connection: socket.socket) -> None:
    server.closing.wait(LONG)


def redirects_slowly(server: RawServer, connection: socket.socket) -> None:
    if not server.closing.wait(SECONDS / 3):
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("who", ["studio", "stranger"])
@pytest.mark.parametrize(
    "script",
    [
        drips_status, drips_headers, drips_one_header, drips_early_answers, drips_body,
        drips_chunks, drips_an_error, says_nothing, redirects_slowly,
    ],
)  # fmt: skip
def test_an_image_ends_in_time_whatever_drips(
    who: str, script: Callable[[RawServer, socket.socket], None]
) -> None:
    with RawServer(script) as server:
        studio = server.url if who == "studio" else "http://127.0.0.1:9"
        with StudioClient(studio, LEGACY_TOKEN) as client:
            policy = ImagePolicy(addresses=LOCAL, max_seconds=SECONDS)
            loader = ImageLoader(client, policy)
            began = time.monotonic()
            with pytest.raises(ImageError):
                loader.fetch(server.url + UPLOAD, 1)
            assert time.monotonic() - began < LONG / 2
            loader.close()


def test_a_name_that_is_not_resolved_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: ended.wait(LONG) and [])
    loader = ImageLoader(None, ImagePolicy(max_seconds=0.1))
    with pytest.raises(PassingImageError, match="in time"):
        loader.fetch("http://slow.example/a.jpg", 1)
    ended.set()
    loader.close()


def test_a_deadline_ends_with_its_block_and_an_inner_one_cannot_lengthen_it() -> None:
    past, later = deadline(time.monotonic() - 1), deadline(time.monotonic() + 60)
    with past, later, pytest.raises(httpcore.ConnectTimeout):
        DeadlineBackend().connect_tcp("127.0.0.1", 9)
    assert lookup("127.0.0.1", 80) == ["127.0.0.1"]


SECRET = b"c0ffee-and-more-secrets"


@pytest.mark.parametrize("who", ["studio", "stranger"])
@pytest.mark.parametrize(
    "answer",
    [
        SECRET + b"\r\n\r\n",
        b"HTTP/1.1 " + SECRET + b"\r\n\r\n",
        OK + SECRET + b"\r\n\r\n",
        OK + b"Content-Length: " + SECRET + b"\r\n\r\n",
        OK + b"Content-Length: " + b"9" * 6000 + b"\r\n\r\n",
        OK + b"Transfer-Encoding: " + SECRET + b"\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 23\r\n\r\n" + SECRET,
        OK + b"Content-Length: 99\r\n\r\n" + SECRET,
        b"HTTP/1.1 302 Found\r\nLocation: http:\\\\\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[" + SECRET + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ftp://x/" + SECRET + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 70 + b"..b/" + SECRET + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://" + SECRET + b"\r\n\r\n",
        b"HTTP/1.1 404 " + SECRET + b"\r\nContent-Length: 23\r\n\r\n" + SECRET,
        b"HTTP/1.1 500 No\r\nContent-Length: 23\r\n\r\n" + SECRET,
    ],
)
def test_no_answer_is_quoted_or_leads_to_another_error(who: str, answer: bytes) -> None:
    def send(_server: RawServer, connection: socket.socket) -> None:
        connection.sendall(answer)

    with RawServer(send) as server:
        studio = server.url if who == "studio" else "http://127.0.0.1:9"
        with StudioClient(studio, LEGACY_TOKEN) as client:
            loader = ImageLoader(client, ImagePolicy(addresses=LOCAL, max_seconds=5))
            with pytest.raises(ImageError) as caught:
                loader.fetch(server.url + UPLOAD, 1)
            assert SECRET.decode() not in caught.value.reason
            assert LEGACY_TOKEN not in caught.value.reason
            loader.close()


def test_a_redirect_with_backslashes_is_read_as_browsers_do() -> None:
    image = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nimage"

    def answer(server: RawServer, connection: socket.socket) -> None:
        if b"/a.jpg" in server.requests[-1]:
            connection.sendall(image)
        else:
            there = server.url.replace("//", "\\\\").encode() + b"\\a.jpg"
            connection.sendall(
                b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n"
                b"Location: " + there + b"\r\n\r\n"
            )

    with RawServer(answer) as server:
        loader = ImageLoader(None, ImagePolicy(addresses=LOCAL))
        assert loader.fetch(f"{server.url}/go", 1) == b"image"
        loader.close()
