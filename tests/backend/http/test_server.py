"""Slow clients, large bodies, unexpected exceptions: others are answered all the same."""

import contextlib
import json
import re
import socket
import sqlite3
import threading

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from backend.http import body_limit, server
from backend.http.body_limit import parsed_size
from backend.http.response_headers import HEADERS
from tests.support.web import CONFIG, Running, recorded, running

JSON = {"Content-Type": "application/json"}
SECONDS = 30.0  # until a test gives up


def connect(web: Running) -> socket.socket:
    address = (web.http.base_url.host, web.http.base_url.port)
    return socket.create_connection(address, timeout=SECONDS)


def ended(connection: socket.socket) -> bool:
    """Whether the server closes the connection before the test gives up."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65_536):
            pass
    return True


@pytest.fixture
def impatient(monkeypatch, web_settings):
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(server, "BODY_SECONDS", 0.2)
    with running(web_settings) as web:
        yield web


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /setup HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        b"Content-Type: application/json\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",  # on a connection kept alive
    ],
)
def test_a_request_that_is_not_ended_in_time_ends_its_connection(impatient, start):
    with connect(impatient) as slow:
        slow.sendall(start)
        assert ended(slow)
    assert impatient.http.get("/health").status_code == 200


def test_a_dripping_client_is_no_faster_than_its_limit(impatient):
    stop = threading.Event()
    with connect(impatient) as slow:

        def drip() -> None:
            with contextlib.suppress(OSError):
                slow.sendall(b"GET /health HTTP/1.1\r\n")
                while not stop.wait(0.02):
                    slow.sendall(b"X-A: b\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        assert ended(slow)
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "start",
    [
        b"GET /health HTTP/1.1\r\nX-A: ",
        b"GET /",
        # Trailers after a body, and chunks of one byte with long names.
        b"POST /setup HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ",
        b"POST /setup HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_headers_without_an_end_are_not_collected(web, start):
    with connect(web) as endless:
        with contextlib.suppress(ConnectionError):
            endless.sendall(start)
            for _ in range(1_000):  # 10 MB, if it took them
                endless.sendall(b"a" * 10_000)
            pytest.fail("all of it was read")
        assert ended(endless)


def test_connections_are_limited_and_free_again(web, monkeypatch):
    web.http.close()
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    with contextlib.ExitStack() as open_ones:
        for _ in range(3):
            one = open_ones.enter_context(connect(web))
            one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert one.recv(12) == b"HTTP/1.1 200"
        assert ended(open_ones.enter_context(connect(web)))


def test_bodies_are_limited_on_every_route_while_they_come(web, monkeypatch):
    monkeypatch.setattr(body_limit, "MAX_BODY", 50_000)
    for path in (
        "/setup",
        "/predict",
        "/train",
        "/job_status",
        "/webhook",
        "/",
        "/c/default",
        "/x",
    ):
        declared = web.http.post(path, content=b" " * 60_000, headers=JSON)
        assert declared.status_code == 413, path
        chunked = web.http.post(path, content=(b" " * 10_000 for _ in range(6)), headers=JSON)
        assert chunked.status_code == 413, path
    for path in ("train", "rollback", "cancel", "nothing"):
        large = web.http.post(f"/api/v1/projects/1/{path}", content=b" " * 100_001, headers=JSON)
        assert large.status_code == 413, path
    assert web.http.put("/health", content=b" " * 60_000, headers=JSON).status_code == 413


def test_what_a_body_will_take_is_known_before_it_is_parsed(web_settings, monkeypatch):
    monkeypatch.setattr(body_limit, "PARSED_LARGE", 1_000_000)
    monkeypatch.setattr(body_limit, "PARSED_SMALL", 1_000_000)
    with running(web_settings) as small:
        for unit in (b"{},", b"[],", b'{"a":1},', b'"ab",'):
            body = b'{"job": [' + unit * (2_000_000 // len(unit) // 10) + b"0]}"
            answer = small.http.post("/job_status", content=body, headers=JSON)
            assert answer.status_code in (400, 413), unit
    nulls = b'{"job": [' + b"null," * 1_000 + b"0]}"
    assert parsed_size(nulls) < 100_000
    real = json.dumps(recorded("annotation_created")).encode()
    assert parsed_size(real) < 20 * len(real)
    # A single wide character makes the whole text wide.
    assert parsed_size("é😀".encode() + b"a" * 1_000) > 8_000
    assert parsed_size(b'"\\ud83d\\ude00' + b"a" * 1_000) > 8_000


def test_bodies_together_are_limited(web, monkeypatch):
    monkeypatch.setattr(body_limit, "ALL_BODIES", 100_000)
    head = b"POST /setup HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connect(web) as slow:
        slow.sendall(head + b"Content-Length: 90000\r\n\r\n" + b" " * 80_000)
        while (answer := web.http.post("/setup", content=b" " * 30_000, headers=JSON)).is_error:
            if answer.status_code == 503:
                break
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
    while web.http.post("/setup", content=b" " * 30_000, headers=JSON).status_code == 503:
        pass  # until the server has noticed that the slow one left; the time limit ends this
    assert web.http.post("/setup", json=recorded("setup")).status_code == 200


def read_answer(connection: socket.socket) -> bytes:
    """Head and body of one answer, which may come in parts."""
    answer, length = b"", 0
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < length:
        part = connection.recv(65_536)
        assert part, "the connection was closed"
        answer += part
        if found := re.search(rb"content-length: (\d+)", answer.lower()):
            length = int(found[1])
    return answer


def test_after_an_unexpected_exception_the_connection_goes_on(web, monkeypatch, capfd):
    async def fail(*_: object) -> None:
        raise KeyError("secret-of-somebody")

    monkeypatch.setattr("backend.protocol.routes.set_up", fail)
    with connect(web) as one:
        body = json.dumps(recorded("setup")).encode()
        request = (
            b"POST /setup HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        for _ in range(3):
            one.sendall(request + body)
            answer = read_answer(one)
            assert answer.startswith(b"HTTP/1.1 500")
            assert b"secret-of-somebody" not in answer
            assert b"connection: close" not in answer.lower()
        one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(one).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("database or disk is full"), "disk is full"),
        (OperationalError("INSERT secret", {}, sqlite3.OperationalError("full")), "disk is full"),
        (OSError(28, "No space left on device"), "disk is full"),
        (OSError(30, "Read-only file system", "/data/x"), "/data/x: the file can't be written"),
    ],
)
def test_a_full_or_read_only_disk_is_told_in_words(web, monkeypatch, error, words):
    origin = getattr(error, "orig", error)
    if isinstance(origin, sqlite3.Error):
        origin.sqlite_errorcode = sqlite3.SQLITE_FULL

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("backend.protocol.routes.set_up", fail)
    answer = web.post("/setup", recorded("setup"))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert words in answer.json()["error"]
    assert "INSERT" not in answer.text


def test_half_a_surrogate_pair_is_no_fault_of_ours(web_module):
    for raw in (rb'{"job":"\ud800"}', rb'{"job":"learn-1-g1\udfff"}', rb'{"job":"\ud83d\ud83d"}'):
        answer = web_module.http.post("/job_status", content=raw, headers=JSON)
        assert answer.status_code == 410
    raw = b'{"project": "\\ud800", "schema": "\\udc00<View/>"}'
    assert web_module.http.post("/setup", content=raw, headers=JSON).status_code == 400


def test_deep_json_is_refused_and_brackets_in_strings_are_not(web_module):
    deep = b'{"job":' + b"[" * 101 + b"]" * 101 + b"}"
    answer = web_module.http.post("/job_status", content=deep, headers=JSON)
    assert answer.status_code == 400
    assert "deep" in answer.json()["error"]
    body = {"job": "[" * 500 + '"{' * 500}
    assert web_module.post("/job_status", body).status_code == 410


def test_every_answer_has_the_headers_that_browsers_heed(web_module):
    answers = [
        web_module.http.get(path)
        for path in ("/health", "/nothing", "/metrics", "/api/v1/projects", "/c/x/health")
    ]
    answers.append(web_module.http.post("/setup", content=b"{", headers=JSON))
    answers.append(web_module.http.get("/health", headers={"Host": "evil.example"}))
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
    page = web_module.http.get("/", headers={"Accept": "text/html"})
    assert "style-src" in page.headers["Content-Security-Policy"]


def test_a_final_slash_is_no_redirect_to_the_host_that_was_given(web_module):
    for path in ("/health/", "/c/default/health/", "/c/default/", "/health///"):
        answer = web_module.http.get(path, headers={"Host": "apprentice.local"})
        assert answer.status_code == 200, path
        assert "location" not in answer.headers


def test_a_client_that_leaves_is_no_fault(web, capfd):
    head = b"POST /setup HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for _ in range(5):
        with connect(web) as gone:
            gone.sendall(head + b"Content-Length: 1000\r\n\r\n{")
    with contextlib.suppress(httpx.HTTPError):
        web.http.get("/health")
    assert "fault" not in capfd.readouterr().err
    assert web.post("/setup", recorded("setup") | {"schema": CONFIG}).status_code == 200
