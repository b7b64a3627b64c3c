"""The guests' process in a thread, with real guests in processes of their own."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.guests.specification import GuestSpec, guest_specs
from services.guests.state import REPORT, GuestStatus
from store.store import Store
from worker.guests.server import GuestServer
from worker.guests.socket_path import socket_path
from worker.supervision.unix_socket import lock_socket

FOLDER = Path(__file__).parents[1] / "data" / "guests"
RECTANGLES = f"{FOLDER / 'rectangle.py'}:Rectangles"
OLDER = f"{FOLDER / 'older.py'}:MostFrequent"
MIXED = (
    '<View><Image name="image" value="$image"/><Choices name="kind" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices><RectangleLabels name="box" '
    'toName="image"><Label value="thing"/></RectangleLabels></View>'
)
TEXT = (
    '<View><Text name="text" value="$text"/><Choices name="tone" toName="text">'
    '<Choice value="good"/><Choice value="bad"/></Choices></View>'
)


@contextmanager
def guests_running(store: Store) -> Iterator[GuestServer]:
    """The process of the guests that the store's settings name."""
    socket = socket_path(store.settings)
    server = GuestServer(store, guest_specs(store.settings))
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(server.run(socket, stop),), name="guests"
    )
    with lock_socket(socket, "process of the guests"):
        thread.start()
        try:
            until(socket.exists)
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def until_ready(server: GuestServer) -> None:
    """Wait until all guests are loaded."""
    until(lambda: all(runner.status.state == "ready" for runner in server.runners.values()))


def report_of(store: Store) -> dict[str, GuestStatus]:
    """{guest: its status}, as the process wrote it last."""
    with store.database.read() as db:
        report = REPORT.get(db)
    return {status.name: status for status in report.guests} if report else {}


def spec(source: str, *controls: str, python: str) -> GuestSpec:
    """A guest by its file and class."""
    file, _, name = source.partition(":")
    return GuestSpec(name, Path(file), name, controls, python)


def set_mood(store: Store, mood: str, guest: str = "Rectangles") -> None:
    """Have a guest misbehave from now on."""
    folder = store.settings.home / "guests" / guest
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mood").write_text(mood)
