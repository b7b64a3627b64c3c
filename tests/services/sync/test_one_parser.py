"""Webhooks, /predict, /setup and sync read Label Studio's JSON alike, whatever is in it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.protocol.predict_request import parse_tasks
from services.sync.records import annotation_record, task_record
from services.sync.webhook_events import Event, read_event
from store.database.schema import annotation, task
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import save_project
from store.settings import Settings
from store.store import Store
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import TaskRecord, save_tasks
from studio.config import parse_label_config
from studio.records.projects import ProjectInfo, ProjectPayload, ProjectRef
from studio.records.requests import PredictRequest
from studio.records.tasks import AnnotatedTaskInfo
from tests.support.web import CONFIG, UID, recorded

SERIES = CONFIG.replace('value="$image"', 'valueList="$image"')

ODD = st.sampled_from(
    [
        *(None, True, False, "", "text", "\ud800", "a\0b", "\udfff\0", "1", "é" * 3),
        *(0, -1, 1, -0.0, 0.5, 1e300, float("inf"), float("-inf"), float("nan")),  # 1e400 is inf
        *(2**31 - 1, 2**31, 2**63, -(2**70), 10**400),
        *([], [1], [{}], [None, "x"], ["\ud83d", 7], {}, {"id": 3}, {"id": "3"}, {"id": True}),
        *("2026-11-24", "2026-11-24T03:22:37.435790Z", "0001-01-01T00:00:00+14:00", "yesterday"),
    ]
)
MISSING = object()


def odd(body: dict[str, Any], *keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """The body with odd values at some of these keys, and some of them missing."""
    fields = st.dictionaries(st.sampled_from(keys), ODD | st.just(MISSING), max_size=3)
    return fields.map(lambda change: {k: v for k, v in (body | change).items() if v is not MISSING})


ANNOTATIONS = odd(
    recorded("annotation_created")["annotation"],
    *("id", "task", "project", "result", "completed_by", "was_cancelled", "ground_truth"),
    *("created_at", "updated_at", "lead_time", "parent_prediction"),
)
DATA = st.dictionaries(st.sampled_from(["image", "note", "\ud800"]), ODD)
TASKS = st.one_of(
    odd(recorded("predict_three")["tasks"][1], "id", "data", "updated_at", "total_annotations"),
    DATA.map(lambda data: {"id": 7, "data": data, "updated_at": None}),
)
PROJECTS = odd(
    recorded("project_updated")["project"],
    *("id", "created_at", "title", "label_config", "maximum_annotations", "task_number"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home: Path = tmp_path_factory.mktemp("home")
    opened = Store.open(Settings(home=home), migrate=True)
    yield opened
    opened.close()


def event(config: str, **body: Any) -> Event:
    project = recorded("annotation_created")["project"] | {"label_config": config}
    read = read_event({"action": "ANNOTATIONS_CREATED", "project": project} | body)
    assert read is not None
    return read


def asked(config: str, body: Any) -> list[TaskRecord]:
    """The task as /predict reads it; none where it is malformed."""
    request = PredictRequest.from_json({"tasks": [body], "project": UID})
    questions, malformed = parse_tasks(request, parse_label_config(config))
    assert len(questions) + malformed.total == 1
    return [question.task for question in questions]


def synced(config: str, body: Any) -> tuple[list[TaskRecord], list[AnnotationRecord]]:
    """The task and its annotations as sync reads them; nothing where the task is malformed."""
    try:
        info = AnnotatedTaskInfo.from_json(body)
    except ValueError:
        return [], []
    record = task_record(parse_label_config(config), info)
    return [record], list(map(annotation_record, info.annotations))


def same(one: Any, other: Any) -> bool:
    """Equality, in which NaN equals itself and -0.0 does not equal 0.0."""
    return repr(one) == repr(other)


def store_records(
    store: Store, tasks: list[TaskRecord], annotations: list[AnnotationRecord]
) -> None:
    """Have an empty project hold the records, and see that it does."""

    def write(db: Any) -> None:
        with db.begin_nested() as attempt:
            save_connection(db, DEFAULT, "http://localhost:1", "token")
            project = save_project(db, DEFAULT, 1, 1000).id
            save_tasks(db, project, tasks)
            save_annotations(db, project, annotations)
            data = [row.data for row in db.execute(task.select()) if row.item == 0]
            assert json.dumps(data) == json.dumps([dict(record.data) for record in tasks])
            rows = list(db.execute(annotation.select()))
            assert same([row.result for row in rows], [record.result for record in annotations])
            assert same(
                [row.lead_time for row in rows], [record.lead_time for record in annotations]
            )
            attempt.rollback()

    store.database.write(write)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(TASKS, st.sampled_from([CONFIG, SERIES]))
def test_a_task_reads_the_same_everywhere(store: Store, body: dict[str, Any], config: str) -> None:
    from_webhook = list(event(config, annotation=[], task=[body]).tasks)
    from_predict = asked(config, body)
    from_sync, _ = synced(config, body)
    assert same(from_webhook, from_predict)
    if isinstance(body.get("data"), dict):
        assert same(from_webhook, from_sync)
    else:  # no news of the task in a request; a task without an image in Label Studio's list
        assert from_webhook == []
        assert all(record.uris == (None,) for record in from_sync)
    store_records(store, from_sync, [])


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(ANNOTATIONS)
def test_an_annotation_reads_the_same_everywhere(store: Store, body: dict[str, Any]) -> None:
    from_webhook = list(event(CONFIG, annotation=[body], task=[]).annotations)
    parent = {"id": 201, "data": {}, "annotations": [body]}
    _, from_sync = synced(CONFIG, parent)
    assert same(from_webhook, from_sync)
    store_records(store, [], from_sync)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(PROJECTS)
def test_a_project_reads_the_same_everywhere(body: dict[str, Any]) -> None:
    if body.get("created_at") is None:  # a webhook may leave out what Label Studio always tells
        with pytest.raises(ValueError, match="malformed project"):
            ProjectInfo.from_json(body)
        return
    try:
        payload = ProjectPayload.from_json(body)
    except ValueError:
        with pytest.raises(ValueError, match="malformed project"):
            ProjectInfo.from_json(body)
        return
    info = ProjectInfo.from_json(body)
    assert (info.id, info.title, info.label_config) == (
        payload.id,
        payload.title,
        payload.label_config,
    )
    assert ProjectRef.parse(info.uid) == payload.ref
    info.title.encode()


def test_a_lone_surrogate_in_a_url_is_cleaned_and_stored(store: Store) -> None:
    body = {"id": 7, "data": {"image": "http://images/\ud800\0.jpg"}}
    tasks, _ = synced(CONFIG, body)
    assert tasks[0].uri == "http://images/?.jpg"
    store_records(store, tasks, [])


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, 1e12, True, "3", None])
def test_a_lead_time_that_is_no_time_counts_as_absent(value: Any) -> None:
    body = recorded("annotation_created")["annotation"] | {"lead_time": value}
    assert event(CONFIG, annotation=body, task=[]).annotations[0].lead_time is None


def test_an_annotation_with_one_time_has_it_twice() -> None:
    body = recorded("annotation_created")["annotation"] | {"created_at": None}
    [record] = event(CONFIG, annotation=body, task=[]).annotations
    written = datetime(2026, 11, 24, 3, 22, 37, 435831, tzinfo=UTC).timestamp()
    assert (record.created_at, record.updated_at) == (written, written)
