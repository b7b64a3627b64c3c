"""A web process that is killed again and again; `python -m benchmarks kills` does it longer."""

import random
import threading
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from backend.doctor.readiness import web_is_ready
from backend.views.inbox import inbox_status
from services.connections.registration import SECRET_HEADER
from store.database.schema import annotation
from store.projects.connections import DEFAULT, save_connection
from store.settings import Settings
from store.store import Store
from tests.support.inbox_marks import broken_marks, note_marks
from tests.support.processes import own_settings, running
from tests.support.web import add_project, recorded

KILLS = 2
SENDERS = 3


class Senders:
    """Threads that send webhooks of new annotations until the process is gone."""

    def __init__(self, settings: Settings, secret: str) -> None:
        self._url = f"http://127.0.0.1:{settings.port}/webhook"
        self._headers = {SECRET_HEADER: secret}
        self._next = iter(range(1000, 1_000_000))
        self._lock = threading.Lock()
        self.acknowledged: set[int] = set()
        self.some = threading.Condition(self._lock)

    def run(self) -> None:
        body = recorded("annotation_created")
        with httpx.Client(headers=self._headers, timeout=30) as client:
            while True:
                with self._lock:
                    number = next(self._next)
                body["annotation"] |= {"id": number, "task": 200 + number % 7}
                body["task"] |= {"id": 200 + number % 7}
                try:
                    answer = client.post(self._url, json=body)
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    with self.some:
                        self.acknowledged.add(number)
                        self.some.notify_all()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_nothing_acknowledged_is_lost_or_applied_twice(
    database: str, tmp_path: Path, broker_address: str, request: pytest.FixtureRequest
) -> None:
    settings = own_settings(tmp_path / "home", redis_url=broker_address)
    more = {"APPRENTICE_REDIS_URL": broker_address}
    if database == "postgres":
        more["APPRENTICE_DATABASE_URL"] = request.getfixturevalue("postgres")
        settings.database_url = more["APPRENTICE_DATABASE_URL"]
    store = Store.open(settings, migrate=True)
    connection = store.database.write(lambda db: save_connection(db, DEFAULT, "http://x", "token"))
    add_project(store)
    store.database.write(note_marks)
    senders, chance = Senders(settings, connection.secret), random.Random(0)
    for _ in range(KILLS):
        with running("serve", settings, lambda: web_is_ready(settings), more=more) as process:
            threads = [threading.Thread(target=senders.run) for _ in range(SENDERS)]
            for thread in threads:
                thread.start()
            enough = len(senders.acknowledged) + chance.randrange(5, 60)
            with senders.some:
                senders.some.wait_for(lambda e=enough: len(senders.acknowledged) >= e, 60)
            process.kill()
            for thread in threads:
                thread.join()
    with running("serve", settings, lambda: web_is_ready(settings), more=more):
        deadline = time.monotonic() + 60
        while inbox_status(store).waiting and time.monotonic() < deadline:
            time.sleep(0.05)
    with store.database.read() as db:
        stored = set(db.execute(select(annotation.c.ls_id)).scalars())
        assert broken_marks(db) == 0
    store.close()
    assert len(senders.acknowledged) > 3 * KILLS
    assert senders.acknowledged <= stored
