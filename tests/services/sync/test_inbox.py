"""Webhooks of the inbox are applied once, and none of them harms another."""

import copy
import json
import time

import pytest

from services.sync import inbox as inbox_service
from services.sync.inbox import InboxTakenError, Letter, Mark, apply_letters, mark_key
from services.sync.webhook_events import Event, read_event
from store.inbox.inbox import Delivery
from store.projects.projects import Project, change_project, find_project
from store.tasks.annotations import current_annotations
from store.tasks.tasks import task_ids
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind
from tests.support.web import LS_CREATED, LS_ID, recorded
from tests.support.workbench import Workbench

START = Mark(0, "")


def read(body: bytes) -> Event | None:
    return read_event(json.loads(body))


def annotated(annotation: int, task: int = 201, name: str = "annotation_created") -> dict:
    body = copy.deepcopy(recorded(name))
    body["annotation"] |= {"id": annotation, "task": task}
    body["task"] |= {"id": task}
    return body


def letters(*bodies: dict | bytes, age: float = 0.0) -> list[Letter]:
    raw = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    return [
        Letter.read(Delivery("default", body, time.time() - age, number), read)
        for number, body in enumerate(raw, 1)
    ]


def apply(bench: Workbench, given: list[Letter], before: Mark = START, process: str = "me"):
    after = Mark(given[-1].delivery.number, process)
    return bench.store.database.write(
        lambda db: apply_letters(db, "box", before, given, after, time.time())
    )


def project(bench: Workbench) -> Project:
    with bench.store.database.read() as db:
        found = find_project(db, "default", LS_ID, LS_CREATED)
    assert found is not None
    return found


def labels(bench: Workbench) -> set[int]:
    with bench.store.database.read() as db:
        return {found.ls_id for found in current_annotations(db, project(bench).id)}


def wanted(bench: Workbench, kind: WorkKind) -> int:
    with bench.store.database.read() as db:
        work = get_work(db, project(bench).id, kind)
    return 0 if work is None else work.wanted


@pytest.fixture
def fails_on_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the annotation 2 meet a fault of ours, after it was written."""
    sound = inbox_service.apply_event

    def fails(db, connection_id, event, *, late):
        outcome = sound(db, connection_id, event, late=late)
        if any(record.ls_id == 2 for record in event.annotations):
            raise KeyError("a fault of ours")
        return outcome

    monkeypatch.setattr(inbox_service, "apply_event", fails)


def test_the_mark_moves_with_what_is_applied(workbench: Workbench) -> None:
    results = apply(workbench, letters(annotated(1), annotated(2, task=202)))
    assert [result.outcome.status for result in results] == ["stored", "stored"]
    assert labels(workbench) == {1, 2}
    with workbench.store.database.read() as db:
        assert mark_key("box").get(db) == Mark(2, "me")


def test_when_the_answer_to_a_commit_was_lost_nothing_is_applied_twice(
    workbench: Workbench,
) -> None:
    given = letters(annotated(1))
    apply(workbench, given)
    learns = wanted(workbench, WorkKind.LEARN)
    apply(workbench, given)
    assert wanted(workbench, WorkKind.LEARN) == learns


def test_a_mark_that_another_process_has_moved_stops_this_one(workbench: Workbench) -> None:
    apply(workbench, letters(annotated(1)), process="another")
    with pytest.raises(InboxTakenError, match="another"):
        apply(workbench, letters(annotated(2)))
    assert labels(workbench) == {1}


@pytest.mark.usefixtures("fails_on_2")
def test_one_that_cannot_be_read_or_applied_costs_no_other(workbench: Workbench) -> None:
    given = letters(annotated(1), annotated(2), b"\xff{", {"action": "ANNOTATION_CREATED"})
    given += [Letter(Delivery("default", b"", 0.0, 5), read(json.dumps(annotated(3)).encode()))]
    results = apply(workbench, given)
    assert [result.outcome is None for result in results] == [False, True, True, True, False]
    assert "a fault of ours" in results[1].reason
    assert labels(workbench) == {1, 3}


@pytest.mark.usefixtures("fails_on_2")
def test_one_bad_entry_of_a_list_costs_no_other(workbench: Workbench) -> None:
    one = annotated(1)
    made = [one["annotation"] | {"id": number} for number in range(1, 6)]
    body = one | {"action": "ANNOTATIONS_CREATED", "annotation": made, "task": [one["task"]]}
    (result,) = apply(workbench, letters(body))
    assert (result.outcome.status, result.outcome.changed) == ("stored", 4)
    assert "1 entries" in result.reason
    assert labels(workbench) == {1, 3, 4, 5}
    with workbench.store.database.read() as db:
        assert task_ids(db, project(workbench).id) == {201}


class TestLateDeletions:
    """Label Studio uses ids again: a deletion that waited long may name something new."""

    def test_they_are_read_from_label_studio(self, workbench: Workbench) -> None:
        apply(workbench, letters(annotated(1, task=201)))
        of = project(workbench)
        workbench.store.database.write(
            lambda db: change_project(db, of.id, tasks_cursor=5.0, listed_at=5.0)
        )
        syncs = wanted(workbench, WorkKind.SYNC)
        deleted = recorded("annotations_deleted") | {"annotations": [{"id": 1}]}
        gone = recorded("tasks_deleted") | {"tasks": [{"id": 201}]}
        apply(workbench, letters(deleted, gone, age=60.0)[-2:], before=Mark(1, "me"))
        assert labels(workbench) == {1}
        with workbench.store.database.read() as db:
            assert task_ids(db, of.id) == {201}
        assert (project(workbench).tasks_cursor, project(workbench).listed_at) == (None, None)
        assert wanted(workbench, WorkKind.SYNC) == syncs + 2

    def test_labels_are_applied_however_late(self, workbench: Workbench) -> None:
        apply(workbench, letters(annotated(1), age=1000.0))
        assert labels(workbench) == {1}
