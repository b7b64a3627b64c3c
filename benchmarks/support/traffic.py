"""Generates requests as Label Studio sends them: each on a new connection, on a fixed schedule.

A schedule that waits for answers would send less just when answers are slow. So each request has
its moment, and its latency counts from that moment.
"""

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backend.demo.run import DemoSession
from benchmarks.support.harness import connection, region
from services.connections.registration import SECRET_HEADER

TIMEOUT = 30.0  # seconds after which a request counts as lost
FIRST_ID = 5_000_000  # of annotations that Label Studio itself doesn't have

_ids = itertools.count(FIRST_ID)


@dataclass(frozen=True)
class Reply:
    """One request. `seconds` from the moment that it was due; `late` that it was sent after that.

    Status 0: no answer.
    """

    name: str
    status: int
    seconds: float
    late: float
    body: bytes
    key: int = 0


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Call:
    """A request that is ready to be sent; `key` tells it apart."""

    name: str
    data: bytes
    key: int = 0


class Bodies:
    """Bodies as Label Studio would send them for one project."""

    def __init__(self, session: DemoSession, studio_project: int) -> None:
        http = session.studio.http
        self._project = http.call("GET", f"/api/projects/{studio_project}/")
        created = datetime.fromisoformat(self._project["created_at"])
        self._uid = f"{studio_project}.{int(created.timestamp())}"
        self._host = f"{session.settings.host}:{session.settings.port}"
        self._secret = connection(session).secret
        self.tasks = {
            task.id: {
                "id": task.id,
                "data": task.data,
                "meta": {},
                "created_at": _now(),
                "updated_at": _now(),
                "is_labeled": True,
                "overlap": 1,
                "inner_id": task.id,
                "total_annotations": 1,
                "cancelled_annotations": 0,
                "project": studio_project,
                "updated_by": 1,
                "comment_authors": [],
            }
            for task in session.studio.tasks(studio_project)
        }

    def annotated(self, task: int, label: str) -> Call:
        """The webhook of a new annotation."""
        key = next(_ids)
        annotation = {
            "id": key,
            "result": [region(label).to_json()],
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": _now(),
            "updated_at": _now(),
            "draft_created_at": None,
            "lead_time": 3.2,
            "prediction": {},
            "result_count": 1,
            "unique_id": f"2cf9c097-1af4-44f2-bac4-{key:012d}",
            "import_id": None,
            "last_action": None,
            "bulk_created": False,
            "task": task,
            "project": self._project["id"],
            "completed_by": 1,
            "updated_by": 1,
            "parent_prediction": None,
            "parent_annotation": None,
            "last_created_by": None,
        }
        body = {
            "action": "ANNOTATION_CREATED",
            "annotation": annotation,
            "project": self._project,
            "task": self.tasks[task],
        }
        return Call("webhook", self._post("/webhook", body), key)

    def health(self) -> Call:
        """What Label Studio asks at every turn."""
        return Call("health", self._head("GET", "/health", 0))

    def setup(self) -> Call:
        """What it asks right after that."""
        body = {
            "project": self._uid,
            "schema": self._project["label_config"],
            "hostname": "",
            "access_token": "",
            "extra_params": None,
        }
        return Call("setup", self._post("/setup", body))

    def predict(self, tasks: Iterable[dict[str, Any]], key: int = 0) -> Call:
        """A request for suggestions."""
        body = {
            "tasks": list(tasks),
            "project": self._uid,
            "label_config": self._project["label_config"],
            "params": {"login": None, "password": None, "context": None},
        }
        return Call("predict", self._post("/predict", body), key)

    def _post(self, path: str, body: dict[str, Any]) -> bytes:
        data = json.dumps(body).encode()
        return self._head("POST", path, len(data)) + data

    def _head(self, method: str, path: str, length: int) -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n"
            f"{SECRET_HEADER}: {self._secret}\r\n\r\n"
        ).encode()


async def send(session: DemoSession, call: Call, due: float | None = None) -> Reply:
    """Send it over a connection of its own; `due` is a time of `time.perf_counter`."""
    return await send_to(Address(session.settings.host, session.settings.port), call, due)


async def send_to(address: Address, call: Call, due: float | None = None) -> Reply:
    """Send it to any server, over a connection of its own."""
    began = time.perf_counter()
    due = began if due is None else due
    status, body = 0, b""
    try:
        async with asyncio.timeout(TIMEOUT):
            status, body = await _exchange(address.host, address.port, call.data)
    except (OSError, TimeoutError, ValueError, IndexError):
        pass
    seconds = time.perf_counter() - due
    return Reply(call.name, status, seconds, began - due, body, call.key)


async def _exchange(host: str, port: int, data: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


async def on_schedule(
    session: DemoSession,
    make: dict[Callable[[], Call], float],
    seconds: float,
) -> list[Reply]:
    """Send each kind of request so many times a second, for that long; wait for all answers."""
    with _as_from_another_machine():
        began = time.perf_counter()
        sent: list[asyncio.Task[Reply]] = []
        for moment, maker in _moments(make, seconds):
            call = maker()
            await asyncio.sleep(max(began + moment - time.perf_counter(), 0.0))
            sent.append(asyncio.create_task(send(session, call, began + moment)))
        return list(await asyncio.gather(*sent))


@contextlib.contextmanager
def _as_from_another_machine() -> Iterator[None]:
    """Let this thread run at once when it is due, where that is allowed.

    Else what is measured would be how long the requests' sender waits for a processor.
    """
    with contextlib.suppress(OSError, AttributeError):  # no right to, or no Linux
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _moments(
    make: dict[Callable[[], Call], float], seconds: float
) -> Iterator[tuple[float, Callable[[], Call]]]:
    plan = [
        (number / rate + offset * 0.003, offset, maker)
        for offset, (maker, rate) in enumerate(make.items())
        for number in range(round(rate * seconds))
    ]
    return ((moment, maker) for moment, _, maker in sorted(plan, key=lambda item: item[:2]))


async def one_by_one(session: DemoSession, calls: Iterable[Call]) -> list[Reply]:
    """Send each when the one before is answered."""
    return [await send(session, call) for call in calls]


async def at_once(session: DemoSession, calls: Iterable[Call]) -> list[Reply]:
    """Send all at the same moment."""
    return list(await asyncio.gather(*(send(session, call) for call in calls)))


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
