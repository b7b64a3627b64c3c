"""/predict of images never seen, with the real backbone in the inference process's application."""

import pytest
from image_server import jpeg
from web_support import LS_ID, add_project, predict_body, running, serve_version

from store.connections import save_connection
from store.projects import change_project
from store.publications import owed_tasks
from store.tasks import get_tasks

DIM = 1280


@pytest.fixture
def served(module_settings, store, asking, images):
    """A web process beside the inference process, with a served version in its space."""
    space = asking.get("/health").json()["space"]
    with running(module_settings) as web:
        web.store.database.write(lambda db: save_connection(db, "default", images.url, "token"))
        project = add_project(web.store)
        web.store.database.write(lambda db: change_project(db, project.id, embedding_space=space))
        serve_version(web.store, project, space=space, dim=DIM)
        yield web, project, space


def payload(task: int, uri: str) -> dict:
    return {"id": task, "data": {"image": uri}, "project": LS_ID}


def test_predict_embeds_an_image_never_seen_and_remembers_it(served, images):
    web, project, space = served
    images.files["/new.jpg"] = jpeg(10, (640, 480))
    answer = web.post("/predict", predict_body([payload(900, "/new.jpg")]))
    assert answer.status_code == 200
    entry = answer.json()["results"][0]
    assert entry["result"][0]["value"]["choices"][0] in {"cat", "dog"}
    with web.store.database.read() as db:
        task = get_tasks(db, project.id, [900])[900]
    assert (task.uri, task.embedded_space) == ("/new.jpg", space)
    assert images.asked["/new.jpg"] == 1
    assert web.post("/predict", predict_body([payload(900, "/new.jpg")])).json()["results"] == [
        entry
    ]
    assert images.asked["/new.jpg"] == 1


def test_predict_of_good_broken_and_unreachable_images(served, images):
    web, project, _ = served
    images.files |= {"/p/good.jpg": jpeg(11), "/p/text.jpg": b"text", "/p/down.jpg": b""}
    images.status["/p/down.jpg"] = 502
    tasks = [payload(910, "/p/text.jpg"), payload(911, "/p/good.jpg"), payload(912, "/p/down.jpg")]
    results = web.post("/predict", predict_body(tasks)).json()["results"]
    assert [bool(entry["result"]) for entry in results] == [False, True, False]
    with web.store.database.read() as db:
        known = get_tasks(db, project.id, [910, 911, 912])
        owed = owed_tasks(db, project.id)
    assert known[910].image_error
    assert known[912].image_error is None
    assert owed & {910, 911, 912} == {912}


def test_a_broken_image_alone_is_answered_and_an_unreachable_one_refused(served, images):
    web, _, _ = served
    images.files |= {"/q/text.jpg": b"text"}
    images.status["/q/down.jpg"] = 502
    broken = web.post("/predict", predict_body([payload(920, "/q/text.jpg")]))
    assert broken.json()["results"][0]["result"] == []
    assert web.post("/predict", predict_body([payload(921, "/q/down.jpg")])).status_code == 503


def test_a_request_larger_than_the_inference_queue_is_answered_piece_by_piece(served, images):
    web, _, _ = served
    data = jpeg(12, (64, 48))
    tasks = range(2000, 2300)
    images.files |= {f"/m/{task}.jpg": data for task in tasks}
    body = predict_body([payload(task, f"/m/{task}.jpg") for task in tasks])
    results = web.post("/predict", body).json()["results"]
    assert len(results) == 300
    assert all(entry["result"] for entry in results)
    assert sum(images.asked[f"/m/{task}.jpg"] for task in tasks) == 300


def test_what_is_not_ready_in_time_is_owed(served, images):
    web, project, _ = served
    images.files["/t/quick.jpg"] = jpeg(13)
    web.app.state.web.settings.predict_seconds = 0.5
    try:
        quick = payload(3001, "/t/quick.jpg")
        assert web.post("/predict", predict_body([quick])).status_code == 200
        images.gate.clear()
        body = predict_body([quick, payload(3002, "/t/slow.jpg")])
        results = web.post("/predict", body).json()["results"]
    finally:
        images.gate.set()
        web.app.state.web.settings.predict_seconds = 20
    assert [bool(entry["result"]) for entry in results] == [True, False]
    with web.store.database.read() as db:
        assert 3002 in owed_tasks(db, project.id)
