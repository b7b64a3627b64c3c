"""sync against a server that answers as Label Studio does, and sometimes not quite."""

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from store.database.schema import annotation as annotation_table
from store.projects.connections import DEFAULT, save_connection
from store.projects.key_values import CALLED_AS
from store.projects.projects import change_project, get_project, save_project
from store.projects.unconfirmed import UNCONFIRMED, ask_label_studio
from store.tasks.annotations import AnnotationRecord, save_annotations, task_annotations
from store.tasks.tasks import get_tasks
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind
from tests.support.scripted_studio import LEGACY_TOKEN, Reply, Request, ScriptedServer, json_reply
from tests.support.workbench import Workbench, label_config, region

CREATED = "1970-01-01T00:16:40Z"  # second 1,000, when the workbench's project was made
LATER = "2026-11-24T03:22:37.435790Z"
CAT = region("kind", "choices", ["cat"])


def annotation(number: int, task: int, **more: Any) -> dict[str, Any]:
    times = {"created_at": LATER, "updated_at": LATER}
    return {"id": number, "task": task, "result": [CAT], "lead_time": 2.0} | times | more


def page_of(tasks: list[dict[str, Any]], request: Request) -> Reply:
    """The tasks after the id that the query asks from."""
    query = json.loads(parse_qs(urlsplit(request.path).query).get("query", ["{}"])[0])
    items = query.get("filters", {}).get("items", [])
    after = max([item["value"] for item in items if item["type"] == "Number"], default=0)
    page = [task for task in tasks if task["id"] > after]
    return json_reply({"tasks": page, "total": len(page)})


@pytest.fixture
def script(workbench: Workbench) -> Any:
    """Has a server hold these tasks, and the project read anew from it."""
    with ScriptedServer() as server:

        def hold(tasks: list[dict[str, Any]]) -> None:
            info = {"id": 1, "created_at": CREATED, "title": "Pets", "task_number": len(tasks)}
            server.on("/api/projects/1/", json_reply(info | {"label_config": label_config()}))
            server.on("/api/tasks/", lambda request: page_of(tasks, request))

        def connect(db: Any) -> None:
            save_connection(db, DEFAULT, server.url, LEGACY_TOKEN)
            change_project(db, workbench.project_id, backend_id=1)

        workbench.store.database.write(connect)
        hold.server = server  # type: ignore[attr-defined]
        yield hold


def known_annotations(bench: Workbench, *tasks: int) -> set[int]:
    with bench.store.database.read() as db:
        return set(task_annotations(db, bench.project_id, tasks))


def test_one_malformed_annotation_loses_no_other(workbench, script) -> None:
    broken = annotation(11, 1, result="cat"), annotation(12, 1, created_at="yesterday"), None
    good = annotation(13, 1), annotation(14, 2)
    script(
        [
            {"id": 1, "data": {"image": "/1"}, "updated_at": LATER,
             "annotations": [*broken, good[0]]},
            {"id": 2, "data": {"image": "/2"}, "updated_at": LATER, "annotations": [good[1]]},
        ]
    )  # fmt: skip
    workbench.run("sync")
    assert known_annotations(workbench, 1, 2) == {13, 14}


def test_what_is_known_of_an_annotation_that_is_malformed_now_stays(workbench, script) -> None:
    records = [AnnotationRecord(number, 1, 1.0, 1.0, [CAT]) for number in (11, 12)]

    def remember(db: Any) -> None:
        save_annotations(db, workbench.project_id, records)
        db.execute(annotation_table.update().values(received_at=1.0))  # long ago

    workbench.store.database.write(remember)
    broken = annotation(11, 1, result=[7])
    script([{"id": 1, "data": {"image": "/1"}, "updated_at": LATER, "annotations": [broken]}])
    workbench.run("sync")
    assert known_annotations(workbench, 1) == {11}  # 12 is gone in Label Studio


def test_strange_values_are_stored_not_choked_on(workbench, script) -> None:
    task = {"id": 1, "data": {"image": "/\ud800\0.jpg", "n": 10**40}, "updated_at": None}
    script([task | {"annotations": [annotation(11, 1, lead_time=1e300, completed_by=2**70)]}])
    workbench.run("sync")
    with workbench.store.database.read() as db:
        assert get_tasks(db, workbench.project_id, [1])[1].uri == "/?.jpg"
    assert known_annotations(workbench, 1) == {11}


@pytest.fixture
def named(workbench: Workbench, script) -> Any:
    """The project as a request alone names it; Label Studio holds it with these backends."""

    def hold(backends: list[dict[str, Any]], since: float, gone: float | None = None) -> None:
        script([])
        script.server.on("/api/ml/", json_reply(backends))
        script.server.on("/api/webhooks/", hooks)
        workbench.store.database.write(
            lambda db: change_project(
                db, workbench.project_id, gone_at=gone, title="", label_config=""
            )
        )

        def name(db: Any) -> None:
            ask_label_studio(db, workbench.project_id)
            UNCONFIRMED.of(workbench.project_id).set(db, since)

        workbench.store.database.write(name)

    hold.server = script.server  # type: ignore[attr-defined]
    return hold


def hooks(request: Request) -> Reply:
    """No webhook yet; one that is made is answered."""
    made = {"id": 3, "project": 1, "url": "http://localhost:9090/webhook"}
    return json_reply([] if request.method == "GET" else made)


BACKEND = {"id": 1, "project": 1, "url": "http://localhost:9090", "state": "CO"}


@pytest.mark.parametrize("gone", [None, 5.0])
def test_a_project_that_label_studio_confirms_is_taken(workbench, named, gone) -> None:
    older = workbench.store.database.write(lambda db: save_project(db, DEFAULT, 1, 900))
    named([BACKEND], time.time(), gone)
    workbench.run("sync")
    project = workbench.project
    assert (project.title, project.label_config) == ("Pets", label_config())
    assert project.gone_at is None
    with workbench.store.database.read() as db:
        assert UNCONFIRMED.of(project.id).get(db) is None
        assert get_project(db, older.id).gone_at is not None


def test_a_project_without_a_backend_is_waited_for_and_forgotten(workbench, named) -> None:
    named([], time.time())
    workbench.run("sync")
    with workbench.store.database.read() as db:
        assert get_work(db, workbench.project_id, WorkKind.SYNC).not_before > time.time()
        assert workbench.project.label_config == ""
    named([], 1.0)
    workbench.run("sync")
    with workbench.store.database.read() as db:
        assert get_project(db, workbench.project_id) is None


def test_a_project_that_label_studio_does_not_have_is_forgotten(workbench, named) -> None:
    named([BACKEND], time.time())
    script_404 = json_reply({"detail": "Not found."}, 404)
    named.server.on("/api/projects/1/", script_404)
    workbench.run("sync")
    with workbench.store.database.read() as db:
        assert get_project(db, workbench.project_id) is None


def test_a_disconnected_project_with_another_backend_stays_disconnected(workbench, named) -> None:
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, connected_at=1.0)
    )
    named([{"id": 2, "project": 1, "url": "http://other.example", "state": "CO"}], 1.0, 5.0)
    workbench.run("sync")
    assert workbench.project.gone_at == 5.0


@pytest.mark.parametrize(("called_as", "adopted"), [("helper.local", 7), ("other.local", None)])
def test_a_backend_by_another_name_is_ours_if_we_were_called_by_it(
    workbench, named, called_as, adopted
) -> None:
    foreign = {"id": 7, "project": 1, "url": "http://helper.local:80/", "state": "CO"}
    named([foreign], time.time())

    def unregistered(db: Any) -> None:
        change_project(db, workbench.project_id, backend_id=None)
        CALLED_AS.of(workbench.project_id).set(db, called_as)

    workbench.store.database.write(unregistered)
    workbench.run("sync")
    assert workbench.project.backend_id == adopted
    sent = [r for r in named.server.asked("/api/webhooks/") if r.method == "POST"]
    assert bool(sent) == bool(adopted), "our secret goes to no backend of somebody else"
