"""External servers for benchmarks: PostgreSQL and Redis, which can be killed and started again."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import redis

from tests.support.postgres import MISSING, PostgresServer, find_binaries
from tests.support.processes import free_port
from worker.supervision.parent_death import HAS_PDEATHSIG, die_with_parent

DATABASES = ("sqlite", "postgres")
START_SECONDS = 30.0


class RedisServer:
    """Redis as it has to be set up for queues: every write is synced to its file."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = tempfile.mkdtemp(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        parent, binary = os.getpid(), shutil.which("redis-server")
        assert binary is not None, "Debian's package redis-server isn't installed"
        options = {
            "--port": str(self.port),
            "--dir": self._folder,
            "--appendonly": "yes",
            "--appendfsync": "always",
            "--maxmemory-policy": "noeviction",
            "--save": "",
        }
        self._process = subprocess.Popen(
            [binary, *(word for pair in options.items() for word in pair)],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=(lambda: die_with_parent(parent)) if HAS_PDEATHSIG else None,
        )
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(redis.RedisError):
                client.ping()
                break
            assert time.monotonic() < deadline, "Redis doesn't answer"
            time.sleep(0.05)
        client.close()

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill it and delete its files."""
        self.kill()
        shutil.rmtree(self._folder)


@dataclass(frozen=True)
class Servers:
    """The servers beside Apprentice, by name; `settings` are the variables that name them."""

    settings: Mapping[str, str] = field(default_factory=dict)
    by_name: Mapping[str, PostgresServer | RedisServer] = field(default_factory=dict)


@contextlib.contextmanager
def external(database: str, *, broker: bool = False) -> Iterator[Servers]:
    """PostgreSQL, where `database` says so, and Redis with `broker`, while the block runs."""
    settings: dict[str, str] = {}
    by_name: dict[str, PostgresServer | RedisServer] = {}
    with contextlib.ExitStack() as stack:
        if database == "postgres":
            binaries = find_binaries()
            assert binaries is not None, MISSING
            postgres = stack.enter_context(PostgresServer(binaries, fsync=True))
            settings["APPRENTICE_DATABASE_URL"] = postgres.url(postgres.create_database())
            by_name["postgres"] = postgres
        if broker:
            server = RedisServer()
            server.start()
            stack.callback(server.close)
            settings["APPRENTICE_REDIS_URL"] = server.url
            by_name["redis"] = server
        yield Servers(settings, by_name)
