"""/predict for tasks that were answered before: from memory, as long as the same is right."""

import pytest
from sqlalchemy import select, update

from store.database.schema import prediction
from store.predictions.publications import SWEPT
from store.predictions.shortlists import Choice, set_shortlist
from store.projects.projects import change_project
from tests.support.web import (
    CONFIG,
    Running,
    add_tasks,
    predict_body,
    serve_version,
    task_payload,
    uri_of,
)

TASKS = [task_payload(task) for task in range(1, 21)]


@pytest.fixture
def served(web, project):
    """Tasks 1 to 20 are embedded and were asked for once."""
    add_tasks(web.store, project, range(1, 21), embedded=True)
    serve_version(web.store, project, shortlist=[5, 3])
    assert web.post("/predict", predict_body(TASKS)).status_code == 200
    wait_for_the_record(web)
    return project


def wait_for_the_record(web: Running) -> None:
    """Wait until the answers are committed, and kept in memory for that."""
    app_state = web.app.state.app_state
    app_state.store.database.write(lambda db: None)
    while app_state.background_tasks:
        assert web.http.get("/health").status_code == 200  # the event loop goes round


def records(web: Running) -> dict[int, tuple[str, float, float]]:
    """{task: (source, score, when)} of what is remembered of predictions."""
    with web.store.database.read() as db:
        rows = db.execute(select(prediction)).all()
    return {row.task_ls_id: (row.source, row.score, row.at) for row in rows}


def test_the_answer_is_the_same_and_nothing_is_written(web, served):
    before = records(web)
    first = web.post("/predict", predict_body(TASKS))
    reverse = web.post("/predict", predict_body(TASKS[::-1]))
    assert first.headers["content-type"] == "application/json"
    assert first.json()["results"] == reverse.json()["results"][::-1]
    wait_for_the_record(web)
    assert records(web) == before


def test_a_new_task_among_known_ones_is_answered(web, served):
    add_tasks(web.store, served, [21], embedded=True)
    results = web.post("/predict", predict_body([*TASKS, task_payload(21)])).json()["results"]
    assert len(results) == 21
    assert results[20]["result"]
    wait_for_the_record(web)
    assert records(web).keys() == set(range(1, 22))


def test_another_image_is_not_answered_with_the_old_one(web, served):
    other = task_payload(2, "http://images/other.jpg")
    assert web.post("/predict", predict_body([other])).status_code == 503


def test_a_place_on_a_new_shortlist_counts(web, served):
    def write(db):
        version_id = served_version(web, served)
        set_shortlist(db, served.id, version_id, [Choice(7, "margin", None)])

    web.store.database.write(write)
    scores = [each["score"] for each in web.post("/predict", predict_body(TASKS)).json()["results"]]
    assert scores[6] < 0.5 <= min(scores[:6] + scores[7:])


def test_another_label_config_counts(web, served):
    fewer = CONFIG.replace('<Choice value="dog"/>', '<Choice value="cow"/>')
    body = predict_body([task_payload(1)]) | {"label_config": fewer}
    (result,) = web.post("/predict", body).json()["results"]
    assert not result["result"] or result["result"][0]["value"]["choices"] == ["cat"]


def test_a_version_that_is_served_again_is_recorded_again(web, served):
    def write(db):
        db.execute(update(prediction).values(source=SWEPT))
        change_project(db, served.id, served_fence=served.served_fence + 1)

    web.store.database.write(write)
    web.post("/predict", predict_body(TASKS))
    wait_for_the_record(web)
    assert {source for source, _, _ in records(web).values()} == {"answered"}


def test_what_an_editor_asks_is_computed_and_not_recorded(web, served):
    before = records(web)
    body = predict_body([task_payload(2) | {"annotations": []}], {"result": []})
    (result,) = web.post("/predict", body).json()["results"]
    assert result["result"]
    wait_for_the_record(web)
    assert records(web) == before


def test_more_data_than_the_image_change_nothing(web, served):
    before = records(web)
    noted = {"id": 2, "data": {"image": uri_of(2), "note": "new"}}
    assert web.post("/predict", predict_body([noted])).status_code == 200
    wait_for_the_record(web)
    assert records(web) == before


def served_version(web: Running, project) -> int:
    with web.store.database.read() as db:
        return db.execute(select(prediction.c.version_id)).scalars().first()
