"""The broker's address, its Redis client, and starting and stopping the embedded broker."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from store.settings import Settings
from worker.queues import valkey_server
from worker.queues.broker_errors import explain_address
from worker.queues.valkey_server import BrokerError, BrokerInUseError
from worker.supervision.child_process import ProcessSpec
from worker.supervision.parent_death import ParentDeathGuard, require_main_thread
from worker.supervision.unix_socket import EXIT_IN_USE

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerInUseError",
    "broker_address",
    "broker_command",
    "broker_is_ready",
    "broker_problem",
    "broker_spec",
    "broker_url",
    "redis_from_url",
    "running_broker",
]

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 10.0
RETRIES = 8  # with the waits below, about 3 seconds: longer than the embedded broker's restart
FIRST_RETRY_SECONDS = 0.02
LONGEST_RETRY_SECONDS = 1.0
START_SECONDS = 20.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
CHECK = "rq:apprentice-check"  # a key that is never there


def broker_url(home: Path) -> str:
    """Return the embedded broker's URL for an `APPRENTICE_HOME`."""
    return f"unix://{valkey_server.socket_path(home)}"


def broker_address(settings: Settings) -> str:
    """Return the URL of the broker, with its password and certificates."""
    url = settings.redis_url
    if url is None:
        return broker_url(settings.home)
    if url.startswith("unix:"):
        return url
    parts = urlsplit(url)
    if settings.redis_password is not None and parts.password is None:
        password = quote(settings.redis_password.get_secret_value(), safe="")
        user, _, host = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user}:{password}@{host}")
    if settings.redis_ca_file is not None and parts.scheme == "rediss":
        trusted = urlencode({"ssl_ca_certs": str(settings.redis_ca_file)})
        parts = parts._replace(query=f"{parts.query}&{trusted}".lstrip("&"))
    return urlunsplit(parts)


def redis_from_url(
    url: str, *, retries: int = RETRIES, answer_seconds: float = ANSWER_SECONDS
) -> redis.Redis:
    """Open a client that retries while the server restarts.

    Args:
        url: `redis://…`, `rediss://…` or `unix:///path`.
        retries: how often one command is sent again when the connection fails: up to about three
            seconds for the default. A command may then be executed twice.
        answer_seconds: how long one answer, and the connection, are waited for.
    """
    wait = ExponentialWithJitterBackoff(base=FIRST_RETRY_SECONDS, cap=LONGEST_RETRY_SECONDS)
    return redis.Redis.from_url(
        url,
        retry=Retry(wait, retries),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError],
        socket_connect_timeout=min(CONNECT_SECONDS, answer_seconds),
        socket_timeout=answer_seconds,
    )


def broker_is_ready(url: str) -> bool:
    """Whether the broker answers and has loaded its data."""
    return broker_problem(url) is None


def broker_problem(url: str) -> str | None:
    """Ask the broker; return why it can't be used and what to do, None when it can."""
    client = redis_from_url(url, retries=0)
    try:
        client.ping()
        # What an account with few rights may lack. Nothing of it changes anything.
        client.lmove(CHECK, CHECK)
        client.eval("return redis.call('DEL', KEYS[1])", 1, CHECK)
    except redis.RedisError as error:
        return explain_address(url, error)
    finally:
        client.close()
    return None


def broker_command(home: Path) -> list[str]:
    """Return the command that runs the embedded broker of `home` in the foreground."""
    return [sys.executable, "-m", "worker.queues.valkey_server", str(home.absolute())]


def broker_spec(home: Path) -> ProcessSpec:
    """Return the embedded broker of `home` as a process of the supervisor."""
    url = broker_url(home)
    return ProcessSpec("broker", tuple(broker_command(home)), ready=lambda: broker_is_ready(url))


class Broker:
    """The embedded broker as a child of this process, without a supervisor.

    It dies with this process, and starts from the main thread only.
    """

    def __init__(self, home: Path, log: IO[bytes] | int = subprocess.DEVNULL) -> None:
        self.home = home
        self.url = broker_url(home)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._parent_death: ParentDeathGuard | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise BrokerError("the broker isn't started")
        return self._process.pid

    def start(self) -> None:
        """Start the broker and wait until it answers.

        Raises:
            BrokerInUseError: another broker serves this home.
            BrokerError: it ended, or didn't answer in time.
        """
        require_main_thread()
        self._parent_death = ParentDeathGuard()
        self._process = subprocess.Popen(
            self._parent_death.command(broker_command(self.home)),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            pass_fds=self._parent_death.pass_fds,
        )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(process):
            code = process.poll()
            if code == EXIT_IN_USE:
                raise BrokerInUseError(f"another broker serves {self.home}")
            if code is not None:
                raise BrokerError(f"the broker ended with code {code}; its output says why")
            if time.monotonic() > deadline:
                raise BrokerError(f"the broker didn't answer within {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    def _answers(self, process: "subprocess.Popen[bytes]") -> bool:
        """Whether the server at the socket is the one that was started here."""
        client = redis_from_url(self.url, retries=0)
        try:
            server = int(client.info("server")["process_id"])
            return os.getsid(server) == process.pid
        except (redis.RedisError, ProcessLookupError):
            return False
        finally:
            client.close()

    def stop(self) -> None:
        """Stop the broker with SIGTERM. Nothing happens when it isn't running."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.kill()

    def kill(self) -> None:
        """Kill the broker at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._parent_death is not None:
            self._parent_death.close()
            self._parent_death = None


@contextmanager
def running_broker(home: Path) -> Iterator[str]:
    """Run the embedded broker of `home` within a `with` block; yields its URL."""
    broker = Broker(home)
    broker.start()
    try:
        yield broker.url
    finally:
        broker.stop()
