"""/predict of images never seen, with the real backbone in the inference process's application."""

import pytest

from store.predictions.pending_answers import tasks_with_pending_answer
from store.projects.connections import save_connection
from store.projects.projects import change_project
from store.tasks.tasks import get_tasks
from tests.support.image_server import jpeg
from tests.support.web import CONFIG, LS_ID, add_project, predict_body, running, serve_version

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
        owed = tasks_with_pending_answer(db, project.id)
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
    web.app.state.app_state.settings.predict_seconds = 0.5
    try:
        quick = payload(3001, "/t/quick.jpg")
        assert web.post("/predict", predict_body([quick])).status_code == 200
        images.gate.clear()
        body = predict_body([quick, payload(3002, "/t/slow.jpg")])
        results = web.post("/predict", body).json()["results"]
    finally:
        images.gate.set()
        web.app.state.app_state.settings.predict_seconds = 20
    assert [bool(entry["result"]) for entry in results] == [True, False]
    with web.store.database.read() as db:
        assert 3002 in tasks_with_pending_answer(db, project.id)


EACH = CONFIG.replace('value="$image"', 'valueList="$images"').replace(
    'name="kind"', 'name="kind" perItem="true"'
)


def ask(web, *tasks: tuple[int, object]) -> list[dict]:
    """/predict for tasks (id, images), where each image is asked about."""
    body = predict_body([{"id": i, "data": {"images": images}} for i, images in tasks])
    answer = web.post("/predict", body | {"label_config": EACH})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def places(entry: dict) -> list[int]:
    return [region["item_index"] for region in entry["result"]]


def test_every_image_of_a_task_is_embedded_and_answered_for(served, images):
    web, project, space = served
    images.files |= {f"/s/{n}.jpg": jpeg(20 + n, (64, 48)) for n in range(3)}
    uris = [f"/s/{n}.jpg" for n in range(3)]
    (entry,) = ask(web, (930, uris))
    assert places(entry) == [0, 1, 2]
    with web.store.database.read() as db:
        known = get_tasks(db, project.id, [930])
    assert [(image.uri, image.embedded_space) for image in known.values()] == [
        (uri, space) for uri in uris
    ]
    assert ask(web, (930, uris)) == [entry]
    assert [images.asked[uri] for uri in uris] == [1, 1, 1]


def test_one_more_image_is_embedded_and_one_less_is_not_answered_for(served, images):
    web, _, _ = served
    images.files |= {f"/g/{n}.jpg": jpeg(30 + n, (64, 48)) for n in range(3)}
    assert places(ask(web, (931, ["/g/0.jpg", "/g/1.jpg"]))[0]) == [0, 1]
    assert places(ask(web, (931, ["/g/0.jpg", "/g/1.jpg", "/g/2.jpg"]))[0]) == [0, 1, 2]
    assert places(ask(web, (931, ["/g/0.jpg"]))[0]) == [0]
    assert [images.asked[f"/g/{n}.jpg"] for n in range(3)] == [1, 1, 1]


def test_of_several_images_broken_ones_are_left_out_and_a_passing_fault_is_owed(served, images):
    web, project, _ = served
    images.files |= {"/h/good.jpg": jpeg(40, (64, 48)), "/h/text.jpg": b"text", "/h/down.jpg": b""}
    images.status["/h/down.jpg"] = 502
    results = ask(
        web,
        (940, ["/h/text.jpg", "/h/good.jpg", None]),
        (941, ["/h/good.jpg", "/h/down.jpg"]),
        (942, ["/h/text.jpg"]),
        (943, []),
        (944, None),
        (945, "/h/good.jpg"),  # the editor shows what is no list too
    )
    assert list(map(places, results)) == [[1], [], [], [], [], [0]]
    with web.store.database.read() as db:
        assert tasks_with_pending_answer(db, project.id) & set(range(940, 946)) == {941}
        errors = [
            image.image_error is not None for image in get_tasks(db, project.id, [940]).values()
        ]
    assert errors == [True, False, False]


def test_all_images_together_have_one_answer(served, images):
    web, _, _ = served
    images.files |= {f"/w/{n}.jpg": jpeg(50 + n, (64, 48)) for n in range(2)}
    task = {"id": 950, "data": {"images": ["/w/0.jpg", "/w/1.jpg"]}}
    config = EACH.replace(' perItem="true"', "")
    answer = web.post("/predict", predict_body([task]) | {"label_config": config})
    (region,) = answer.json()["results"][0]["result"]
    assert "item_index" not in region
    assert web.post("/predict", predict_body([task]) | {"label_config": config}).json() == (
        answer.json()
    )
