"""Asks the processes whether they are ready, for `up`, the demo and the doctor.

Asked many times a second, so with the standard library's HTTP client: httpx reads all certificates
for each new client.
"""

import base64
import http.client
import socket
from pathlib import Path

import redis

from backend.inference.socket_path import socket_path
from store.settings import Settings
from worker.queues.broker import broker_address, redis_from_url
from worker.queues.enqueue import needed_queues
from worker.queues.worker_registry import WorkerInfo, live_workers

ANSWER_SECONDS = 1.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
FAULTS = (OSError, http.client.HTTPException)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._path))


def local_host(settings: Settings) -> str:
    """The host where this machine reaches the web process."""
    return ANY_ADDRESS.get(settings.host, settings.host)


def ask_web(settings: Settings, path: str = "/health") -> tuple[int, bytes]:
    """Send a GET request to the web process; return its status and body. Raises one of FAULTS."""
    headers = {}
    if auth := settings.basic_auth:
        pair = ":".join(auth).encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    host = local_host(settings)
    connection = http.client.HTTPConnection(host, settings.port, timeout=ANSWER_SECONDS)
    return _ask(connection, path, headers)


def _ask(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str]
) -> tuple[int, bytes]:
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def web_is_ready(settings: Settings) -> bool:
    """Whether the web process answers and accepts our password."""
    try:
        return ask_web(settings)[0] == http.HTTPStatus.OK
    except FAULTS:
        return False


def inference_is_ready(settings: Settings) -> bool:
    """Whether the inference process has opened its backbone."""
    try:
        status, _ = _ask(UnixConnection(socket_path(settings)), "/health", {})
    except FAULTS:
        return False
    return status == http.HTTPStatus.OK


def living_workers(settings: Settings) -> list[WorkerInfo] | None:
    """The live workers; None when the broker doesn't answer."""
    client = redis_from_url(broker_address(settings), retries=0)
    try:
        return live_workers(client)
    except redis.RedisError:
        return None
    finally:
        client.close()


def not_ready(settings: Settings) -> list[str]:
    """The names of the processes that don't answer yet."""
    missing = []
    if not web_is_ready(settings):
        missing.append("web")
    if not inference_is_ready(settings):
        missing.append("inference")
    workers = living_workers(settings)
    if workers is None:
        return ["broker", *missing]
    served = {worker.queue for worker in workers}
    return missing + [f"worker {queue}" for queue in needed_queues(settings) if queue not in served]
