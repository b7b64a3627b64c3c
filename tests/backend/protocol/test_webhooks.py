import copy
import json

from sqlalchemy import func, select

from store.database.schema import annotation, connection, project, task, work
from store.projects.connections import save_connection
from store.projects.projects import change_project, find_project, get_project, list_projects
from store.tasks.annotations import current_annotations
from store.tasks.tasks import get_tasks, mark_embedded
from store.work.pending_work import get_work
from tests.support.web import CONFIG, LS_CREATED, LS_ID, SPACE, Running, add_project, recorded

ACCEPTED = {"status": "accepted"}


def wanted(web: Running, project_id: int) -> dict[str, int]:
    """How often each kind of work was requested."""
    with web.store.database.read() as db:
        rows = db.execute(select(work.c.kind, work.c.wanted).where(work.c.project_id == project_id))
        return {row.kind: row.wanted for row in rows}


def annotations(web: Running, project_id: int) -> dict[int, object]:
    with web.store.database.read() as db:
        return {a.ls_id: a for a in current_annotations(db, project_id)}


def stored(web: Running) -> tuple[int, ...]:
    """How many rows there are of all that a webhook may write."""
    with web.store.database.read() as db:
        return tuple(
            db.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (connection, project, task, annotation, work)
        )


def test_a_label_is_stored_with_its_task_and_learned(web, project):
    assert web.webhook(recorded("annotation_created")).json() == ACCEPTED
    kept = annotations(web, project.id)[16]
    assert kept.task_ls_id == 201
    assert kept.result[0]["value"] == {"choices": ["cat"]}
    assert kept.lead_time == 3.2
    assert kept.completed_by == 1
    with web.store.database.read() as db:
        uri = get_tasks(db, project.id, [201])[201].uri
    assert uri == recorded("annotation_created")["task"]["data"]["image"]
    assert wanted(web, project.id).keys() == {"learn", "embed"}


def test_a_label_of_an_embedded_image_asks_for_no_embedding(web, project):
    web.webhook(recorded("annotation_created"))
    key = {201: "0" * 64}
    web.store.database.write(lambda db: mark_embedded(db, project.id, SPACE, key))
    before = wanted(web, project.id)["embed"]
    web.webhook(recorded("annotation_updated"))
    assert wanted(web, project.id)["embed"] == before


def test_a_repeated_event_changes_nothing(web, project):
    web.webhook(recorded("annotation_created"))
    before = stored(web)
    learns = wanted(web, project.id)["learn"]
    assert web.webhook(recorded("annotation_created")).json() == ACCEPTED
    assert stored(web) == before
    assert wanted(web, project.id)["learn"] == learns


def test_events_out_of_order_leave_the_last_write(web, project):
    web.webhook(recorded("annotation_updated"))
    web.webhook(recorded("annotation_created"))
    assert annotations(web, project.id)[16].result[0]["value"] == {"choices": ["dog"]}


def test_a_skipped_task_is_no_label(web, project):
    assert web.webhook(recorded("annotation_skipped")).json() == ACCEPTED
    assert annotations(web, project.id) == {}


def test_a_deleted_annotation_stays_deleted_when_its_creation_comes_late(web, project):
    assert web.webhook(recorded("annotations_deleted")).status_code == 200
    web.webhook(recorded("annotation_created"))
    assert annotations(web, project.id) == {}


def test_a_deleted_task_is_gone(web, project):
    body = recorded("annotation_created")
    web.webhook(body)
    deleted = recorded("tasks_deleted") | {"tasks": [{"id": 201}]}
    assert web.webhook(deleted).json() == ACCEPTED
    with web.store.database.read() as db:
        assert get_tasks(db, project.id, [201]) == {}


def test_new_tasks_have_label_studio_looked_at(web, project):
    web.webhook(recorded("tasks_created"))
    assert wanted(web, project.id) == {"sync": 1}


def test_annotations_in_a_list_are_all_stored_but_for_the_malformed(web, project):
    one = recorded("annotation_created")
    made = [one["annotation"] | {"id": number} for number in (31, 32, 33)]
    broken = [
        None,
        "text",
        {"id": 34},
        made[0] | {"id": "x"},
        made[0] | {"id": 2**40},
        made[0] | {"id": 35, "result": "cat"},
        made[0] | {"id": 36, "result": [1]},
        made[0] | {"id": 37, "updated_at": "yesterday", "created_at": None},
        made[0] | {"id": 38, "task": True},
    ]
    body = {
        "action": "ANNOTATIONS_CREATED",
        "annotation": [made[0], *broken, *made[1:]],
        "task": [one["task"], None, {"id": 7}],
        "project": one["project"],
    }
    assert web.webhook(body).json() == ACCEPTED
    assert annotations(web, project.id).keys() == {31, 32, 33}


def test_odd_but_harmless_fields_are_taken_as_absent(web, project):
    body = recorded("annotation_created")
    body["annotation"] |= {
        "lead_time": "long",
        "completed_by": {"id": 9, "email": "x@example.com"},
        "parent_prediction": None,
    }
    assert web.webhook(body).status_code == 200
    kept = annotations(web, project.id)[16]
    assert kept.lead_time is None
    assert kept.completed_by == 9


def test_without_the_secret_nothing_is_stored(web, project):
    names = ("annotation_created", "annotations_deleted", "tasks_created", "tasks_deleted",
             "project_updated")  # fmt: skip
    before = stored(web)
    for name in names:
        for secret in (None, "", "wrong", "wröng", web.connection.secret[:-1]):
            headers = {} if secret is None else {"X-Apprentice-Secret": secret.encode()}
            answer = web.http.post("/webhook", json=recorded(name), headers=headers)
            assert answer.status_code == 401, (name, secret)
    assert stored(web) == before


def test_the_secret_of_another_connection_is_no_secret(web, project):
    web.store.database.write(lambda db: save_connection(db, "other", "http://other", "t"))
    before = stored(web)
    answer = web.http.post(
        "/c/other/webhook", json=recorded("annotation_created"), headers=web.secret
    )
    assert answer.status_code == 401
    assert stored(web) == before


def test_strangers_are_not_told_which_connections_there_are(web):
    for body in (recorded("project_updated"), recorded("annotation_created"), {"action": "x"}, {}):
        for headers in ({}, {"X-Apprentice-Secret": "wrong"}):
            known, unknown = (
                web.http.post(f"/c/{name}/webhook", json=body, headers=headers)
                for name in ("default", "nobody")
            )
            assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert unknown.status_code == 401
    assert "apprentice connect" in unknown.json()["error"]


def test_a_project_never_seen_is_created_from_the_event(web):
    assert web.webhook(recorded("annotation_created")).json() == ACCEPTED
    with web.store.database.read() as db:
        found = find_project(db, "default", LS_ID, LS_CREATED)
    assert found is not None
    assert found.title == "capture"
    assert found.label_config == CONFIG
    assert annotations(web, found.id).keys() == {16}
    assert wanted(web, found.id)["sync"] == 1


def test_a_reused_id_is_another_project(web, project):
    web.webhook(recorded("annotation_created"))
    body = recorded("annotation_created")
    body["project"] |= {"created_at": "2027-01-01T00:00:00Z", "title": "second"}
    web.webhook(body)
    with web.store.database.read() as db:
        second = find_project(db, "default", LS_ID)
        first = get_project(db, project.id)
        assert [p.title for p in list_projects(db)] == ["second"]
    assert first.gone_at is not None
    assert second.id != project.id
    assert annotations(web, second.id).keys() == {16}


def test_a_disconnected_project_is_answered_politely(web, project):
    web.store.database.write(lambda db: change_project(db, project.id, gone_at=5.0))
    answer = web.webhook(recorded("annotation_created"))
    assert answer.json() == ACCEPTED
    assert annotations(web, project.id) == {}


def test_a_changed_title_is_taken_over_and_our_own_echo_is_not(web, project):
    assert web.webhook(recorded("project_updated")).json() == ACCEPTED
    assert web.webhook(recorded("project_updated")).json() == ACCEPTED
    assert wanted(web, project.id) == {"sync": 1}
    with web.store.database.read() as db:
        assert get_project(db, project.id).title == "capture2"


def test_other_actions_are_ignored(web, project):
    body = recorded("project_updated") | {"action": "LABEL_LINK_CREATED"}
    assert web.webhook(body).json() == {"status": "ignored: no use for this action"}


def test_malformed_events_say_what_is_wrong(web, project):
    base = recorded("annotation_created")
    for change, word in (
        ({"action": 7}, "action"),
        ({"project": None}, "payload"),
        ({"project": {"id": "5"}}, "id"),
        ({"annotation": None}, "annotation"),
        ({"annotation": base["annotation"] | {"result": {}}}, "result"),
        ({"task": 3}, "task"),
        ({"action": "TASKS_DELETED", "tasks": {"id": 1}}, "tasks"),
    ):
        answer = web.webhook(copy.deepcopy(base) | change)
        assert answer.status_code == 400, change
        assert word in answer.json()["error"]
    assert annotations(web, project.id) == {}


def test_strange_strings_are_stored_not_choked_on(web, project):
    raw = json.dumps(recorded("project_updated")).replace("capture2", "a\\ud800b\\u0000c")
    headers = web.secret | {"Content-Type": "application/json"}
    answer = web.http.post("/webhook", content=raw, headers=headers)
    assert answer.status_code == 200
    web.settle()
    with web.store.database.read() as db:
        assert get_project(db, project.id).title == "a\ufffdbc"


def test_a_burst_is_one_wish_after_the_other_none_lost(web, project):
    body = recorded("annotation_created")
    for number in range(100, 140):
        body["annotation"] |= {"id": number}
        assert web.webhook(body).status_code == 200
    assert len(annotations(web, project.id)) == 40
    with web.store.database.read() as db:
        assert get_work(db, project.id, "learn").wanted == 40


def test_start_training_wakes_learning_once_in_a_while(web, project):
    first = web.post("/webhook", recorded("start_training"))
    assert first.status_code == 200
    job = first.json()["job"]
    assert job.startswith(f"learn-{project.id}-g")
    again = wanted(web, project.id)
    for _ in range(5):
        assert web.post("/webhook", recorded("start_training")).status_code == 200
    assert wanted(web, project.id)["sync"] == again["sync"]
    assert web.post("/job_status", {"job": job}).json()["job_status"] in {"queued", "started"}


def test_start_training_of_an_unknown_project_is_not_found(web):
    assert web.post("/webhook", recorded("start_training")).status_code == 404


def test_events_of_the_scoped_url_belong_to_that_connection(web):
    other = web.store.database.write(lambda db: save_connection(db, "other", "http://o", "t"))
    add_project(web.store)
    answer = web.http.post(
        "/c/other/webhook",
        json=recorded("annotation_created"),
        headers={"X-Apprentice-Secret": other.secret},
    )
    assert answer.json() == ACCEPTED
    web.settle()
    with web.store.database.read() as db:
        found = find_project(db, "other", LS_ID, LS_CREATED)
    assert annotations(web, found.id).keys() == {16}
