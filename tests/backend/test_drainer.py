"""The drainer: acknowledged webhooks are applied, whatever the database does meanwhile."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from backend import drainer as drainer_module
from backend.drainer import Drainer
from backend.http.prometheus import Metrics
from services.sync import inbox as inbox_service
from store.inbox.inbox import Delivery, Inbox, count_rejected
from store.projects.connections import DEFAULT, save_connection
from store.settings import Settings
from store.store import Store
from store.tasks.annotations import current_annotations
from tests.support.web import Running, add_project, recorded


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(Settings(home=tmp_path / "home"), migrate=True)
    opened.database.write(lambda db: save_connection(db, DEFAULT, "http://studio", "token"))
    add_project(opened)
    yield opened
    opened.close()


def annotated(annotation: int) -> bytes:
    body = recorded("annotation_created")
    body["annotation"] |= {"id": annotation}
    return json.dumps(body).encode()


def put(inbox: Inbox, *bodies: bytes) -> None:
    for body in bodies:
        inbox.submit(Delivery(DEFAULT, body, 1e9)).result(30)


def labels(store: Store) -> set[int]:
    with store.database.read() as db:
        return {found.ls_id for found in current_annotations(db, 1)}


@contextmanager
def draining(store: Store, home: Path) -> Iterator[Inbox]:
    """An inbox that is applied to the store."""
    inbox = Inbox(home)
    drainer = Drainer(store, inbox, Metrics(), lambda: None)
    drainer.start()
    try:
        yield inbox
    finally:
        drainer.stop()
        inbox.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drainer_module, "WAITS", (0.001,))


def test_what_a_process_left_behind_is_applied_at_the_next_start(
    store: Store, tmp_path: Path
) -> None:
    left = Inbox(tmp_path)
    put(left, *map(annotated, range(1, 30)))
    left.close()
    with draining(store, tmp_path) as inbox:
        assert inbox.wait_until_applied(30)
        assert labels(store) == set(range(1, 30))
        put(inbox, annotated(30))
        assert inbox.wait_until_applied(30)
    assert labels(store) == set(range(1, 31))


def test_backends_with_one_database_have_an_inbox_each(store: Store, tmp_path: Path) -> None:
    with draining(store, tmp_path / "a") as one, draining(store, tmp_path / "b") as other:
        put(one, annotated(1))
        put(other, annotated(2))
        put(one, annotated(3))
        assert one.wait_until_applied(30)
        assert other.wait_until_applied(30)
    assert labels(store) == {1, 2, 3}


def test_a_copied_home_loses_nothing_of_either(store: Store, tmp_path: Path) -> None:
    with draining(store, tmp_path / "a") as one:
        put(one, annotated(1))
        assert one.wait_until_applied(30)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with draining(store, tmp_path / "a") as one, draining(store, tmp_path / "b") as other:
        for number in range(2, 10, 2):
            put(one, annotated(number))
            put(other, annotated(number + 1))
        assert one.wait_until_applied(30)
        assert other.wait_until_applied(30)
        assert one.id != other.id
    assert labels(store) == set(range(1, 10))


def test_one_that_the_database_refuses_is_put_aside(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = inbox_service.apply_event

    def refuses(db, connection_id, event, *, late):
        if event.annotations[0].ls_id == 5:
            raise IntegrityError("INSERT", None, ValueError("refused"))
        return sound(db, connection_id, event, late=late)

    monkeypatch.setattr(inbox_service, "apply_event", refuses)
    left = Inbox(tmp_path)
    put(left, *map(annotated, range(1, 10)))
    left.close()
    with draining(store, tmp_path) as inbox:
        assert inbox.wait_until_applied(30)
    assert labels(store) == set(range(1, 10)) - {5}
    assert count_rejected(tmp_path) == 1
    (file,) = (tmp_path / "inbox" / "rejected").iterdir()
    kept = json.loads(file.read_text())
    assert kept["body"] == annotated(5).decode()
    assert "refused" in kept["reason"]


def test_entries_that_the_database_refuses_cost_no_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = inbox_service.apply_event

    def refuses(db, connection_id, event, *, late):
        if any(record.ls_id == 5 for record in event.annotations):
            raise IntegrityError("INSERT", None, ValueError("refused"))
        return sound(db, connection_id, event, late=late)

    monkeypatch.setattr(inbox_service, "apply_event", refuses)
    one = recorded("annotation_created")
    made = [one["annotation"] | {"id": number} for number in range(1, 10)]
    body = one | {"action": "ANNOTATIONS_CREATED", "annotation": made, "task": [one["task"]]}
    with draining(store, tmp_path) as inbox:
        put(inbox, json.dumps(body).encode())
        assert inbox.wait_until_applied(30)
    assert labels(store) == set(range(1, 10)) - {5}
    assert count_rejected(tmp_path) == 1


def test_a_webhook_waits_for_no_writer_of_the_database(web: Running, project: object) -> None:
    body = recorded("annotation_created")
    with closing(sqlite3.connect(web.store.settings.home / "apprentice.db")) as writer:
        writer.isolation_level = None
        writer.execute("BEGIN IMMEDIATE")
        for number in range(1, 20):
            body["annotation"]["id"] = number
            assert web.http.post("/webhook", json=body, headers=web.secret).status_code == 200
        inbox = web.app.state.app_state.inbox
        assert not inbox.wait_until_applied(0.05)
        text = web.http.get("/metrics").text
        assert f"apprentice_inbox_depth {inbox.depth:.1f}" in text
        assert labels(web.store) == set()
        writer.execute("ROLLBACK")
    web.settle()
    assert labels(web.store) == set(range(1, 20))


def test_a_full_disk_is_a_503(web: Running, project: object, monkeypatch) -> None:
    def full(_fd: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("store.inbox.log._write", full)
        answer = web.webhook(recorded("annotation_created"))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert web.webhook(recorded("annotation_created")).status_code == 200
    assert labels(web.store) == {16}
