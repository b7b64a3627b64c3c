"""The containers' health check, against real sockets."""

import base64
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from store.settings import Settings
from tests.support.deploy import ROOT


def check(what: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", ROOT / "deploy" / "healthcheck.py", what],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
    )


class Guarded(BaseHTTPRequestHandler):
    """Answers /health to those who know the password."""

    def do_GET(self) -> None:
        known = "Basic " + base64.b64encode("ann:pässword".encode()).decode()
        if self.headers.get("Authorization") != known:
            self.send_error(401)
        elif self.path == "/health":
            self.send_response(200)
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def port() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield str(server.server_port)
        server.shutdown()
        thread.join()


def test_web_is_well_when_it_answers_with_the_password(port: str) -> None:
    done = check("web", APPRENTICE_PORT=port, BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="pässword")
    assert (done.returncode, done.stderr) == (0, "")


def test_web_is_not_well_when_it_refuses_and_says_so(port: str) -> None:
    done = check("web", APPRENTICE_PORT=port)
    assert done.returncode == 1
    assert "401" in done.stderr


def test_web_is_not_well_when_nobody_listens(port: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = check("web", APPRENTICE_PORT=str(free.getsockname()[1]))
    assert done.returncode == 1
    assert "not well" in done.stderr


def test_inference_is_well_while_it_listens_where_the_settings_say(tmp_path: Path) -> None:
    path = Settings(home=tmp_path).inference_socket
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert check("inference", APPRENTICE_HOME=str(tmp_path)).returncode == 0
    assert check("inference", APPRENTICE_HOME=str(tmp_path)).returncode == 1
