"""A real Redis for tests, with TLS, a password and users.

The bundled Valkey, which is built without TLS, stands behind a proxy that ends it. Where a server
with TLS of its own is on PATH (Debian's `redis-server`), the tests of TLS run with that one too.
"""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from tests.support.processes import free_port
from tests.support.scripted_studio import CERTIFICATE
from tests.support.tls_proxy import tls_proxy
from worker.queues.broker import broker_problem
from worker.queues.valkey_server import binary
from worker.supervision.parent_death import ParentDeathGuard

PASSWORD = "p@ss/word:1"
# What docs/deployment.md gives as the rule for Apprentice's user.
RULE = (
    "~rq:* ~apprentice:* &rq:* +@read +@write +@connection +@transaction +@blocking +@pubsub "
    "+eval +evalsha +script|load +info -@dangerous +info"
)
START_SECONDS = 20.0
BUNDLED, INSTALLED = "bundled", "installed"


@dataclass(frozen=True)
class RedisServer:
    """A running server: one port with TLS, one without; users `default` and `apprentice`."""

    port: int
    tls_port: int
    ca: Path

    def admin(self) -> Redis:
        """A client that may do everything."""
        return Redis(port=self.port, password=PASSWORD)

    def url(self, user: str = "apprentice", scheme: str = "rediss") -> str:
        port = self.tls_port if scheme == "rediss" else self.port
        return f"{scheme}://{user}@localhost:{port}/0"


def installed() -> str | None:
    """The server on PATH."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@pytest.fixture(scope="session", params=[BUNDLED, *([INSTALLED] if installed() else [])])
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Each of the servers, for all tests of a session."""
    with running_redis(None if request.param == BUNDLED else installed()) as server:
        yield server


@pytest.fixture(scope="session")
def bundled_redis() -> Iterator[RedisServer]:
    """The bundled server alone, for tests that take long."""
    with running_redis(None) as server:
        yield server


@contextlib.contextmanager
def running_redis(own_tls: str | None) -> Iterator[RedisServer]:
    """A server for a `with` block.

    Args:
        own_tls: the path of a server that speaks TLS; None for the bundled one and a proxy.
    """
    key = CERTIFICATE.with_name("key.pem")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))
        port = free_port()
        if own_tls is None:
            tls_port = stack.enter_context(tls_proxy(port, CERTIFICATE, key))
            more = {}
        else:
            tls_port = free_port()
            more = {
                "tls-port": str(tls_port),
                "tls-cert-file": str(CERTIFICATE),
                "tls-key-file": str(key),
                "tls-ca-cert-file": str(CERTIFICATE),
                "tls-auth-clients": "no",
            }
        server = RedisServer(port, tls_port, CERTIFICATE)
        stack.enter_context(_process(own_tls or str(binary()), server, folder, more))
        yield server


@contextlib.contextmanager
def _process(
    program: str, server: RedisServer, folder: Path, more: dict[str, str]
) -> Iterator[None]:
    (folder / "users.acl").write_text(
        f"user default on >{PASSWORD} ~* &* +@all\nuser apprentice on >{PASSWORD} {RULE}\n"
        f"user reader on >{PASSWORD} ~* +@read +@connection\n"
    )
    options = {
        "bind": "127.0.0.1",
        "port": str(server.port),
        "aclfile": str(folder / "users.acl"),
        "dir": str(folder),
        "save": "",
        **more,
    }
    guard = ParentDeathGuard()
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            guard.command([program, *arguments]),
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=guard.pass_fds,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "refuses the user" not in (broker_problem(server.url("nobody:x", "redis")) or ""):
            said = (folder / "log").read_text()
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()
        guard.close()
