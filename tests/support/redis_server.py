"""A real Redis for tests, with TLS, a password and users: Debian's, or any that is on PATH."""

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
from worker.queues.broker import broker_problem
from worker.supervision.parent_death import ParentDeathGuard

PASSWORD = "p@ss/word:1"
# What docs/deployment.md gives as the rule for Apprentice's user.
RULE = (
    "~rq:* ~apprentice:* &rq:* +@read +@write +@connection +@transaction +@blocking +@pubsub "
    "+eval +evalsha +script|load +info -@dangerous +info"
)
START_SECONDS = 20.0
MISSING = (
    "no redis-server or valkey-server with TLS on PATH: install Debian's package `redis-server`"
)


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
        return f"{scheme}://{user}@127.0.0.1:{port}/0"


def _certificate(folder: Path) -> None:
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-days", "2", *keys, *subject, *files],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server, for all tests of a session."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None or shutil.which("openssl") is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    _certificate(folder)
    port, tls_port = free_port(), free_port()
    (folder / "users.acl").write_text(
        f"user default on >{PASSWORD} ~* &* +@all\nuser apprentice on >{PASSWORD} {RULE}\n"
        f"user reader on >{PASSWORD} ~* +@read +@connection\n"
    )
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "tls-port": str(tls_port),
        "tls-cert-file": str(folder / "certificate.pem"),
        "tls-key-file": str(folder / "key.pem"),
        "tls-ca-cert-file": str(folder / "certificate.pem"),
        "tls-auth-clients": "no",
        "aclfile": str(folder / "users.acl"),
        "dir": str(folder),
        "save": "",
    }
    guard = ParentDeathGuard()
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            guard.command([binary, *arguments]),
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=guard.pass_fds,
        )
    server = RedisServer(port, tls_port, folder / "certificate.pem")
    deadline = time.monotonic() + START_SECONDS
    while "refuses the user" not in (broker_problem(server.url("nobody:x", "redis")) or ""):
        said = (folder / "log").read_text()
        if process.poll() is not None and "tls" in said.lower():
            pytest.skip(MISSING)
        assert process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    yield server
    process.terminate()
    process.wait()
    guard.close()
    shutil.rmtree(folder)
