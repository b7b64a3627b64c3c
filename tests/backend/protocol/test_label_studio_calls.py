"""The real Label Studio calls us: what it saves and shows of our answers."""

import pytest
from pydantic import SecretStr

from backend.demo.label_studio import LabelStudioServer, create_image_project
from services.connections.registration import ACTIONS
from store.predictions.pending_answers import tasks_with_pending_answer
from store.projects.connections import save_connection
from store.projects.key_values import EMBEDDING_SPACE
from store.projects.projects import change_project, find_project
from store.tasks.annotations import current_annotations
from store.tasks.tasks import get_tasks
from store.work.pending_work import get_work
from studio.client import StudioClient
from studio.regions import StudioRegion
from tests.support.image_server import jpeg
from tests.support.web import CONFIG, Running, running, serve_version

pytestmark = pytest.mark.e2e

DIM = 1280
FILES = [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2)), ("c.jpg", jpeg(3)), ("broken.jpg", b"a text file")]
CAT = [
    StudioRegion.new(from_name="kind", to_name="image", kind="choices", value={"choices": ["cat"]})
]


@pytest.fixture
def served_settings(module_settings, inference):
    return module_settings.model_copy(
        update={
            "basic_auth_user": "ann",
            "basic_auth_pass": SecretStr("pässword"),
            "min_confidence": 0.0,
        }
    )


def address(web: Running) -> str:
    return str(web.http.base_url).rstrip("/").replace("127.0.0.1", "localhost")


def test_every_call_of_the_real_label_studio(
    label_studio: LabelStudioServer, studio: StudioClient, served_settings
):
    info, tasks = create_image_project(studio, "calls", CONFIG, FILES)
    with running(served_settings) as web:
        connection = web.store.database.write(
            lambda db: save_connection(db, "default", label_studio.url, label_studio.token)
        )
        url = address(web)
        backend = studio.create_backend(
            info.id, f"{url}/c/default", "Apprentice", basic_auth=("ann", "pässword")
        )
        assert (backend.state, backend.error) == ("CO", None)

        with web.store.database.read() as db:
            project = find_project(db, "default", info.id, int(info.created_at.timestamp()))
        assert project is not None, "/setup made it known"
        assert project.label_config == "", "the sync reads it from the API"

        # Nothing is learned: a task opens, and nothing is saved for it.
        open_task(studio, info.id, tasks["a.jpg"])
        assert studio.predictions(project=info.id) == []

        space = serve(web, project)
        open_task(studio, info.id, tasks["a.jpg"])
        (shown,) = studio.predictions(task=tasks["a.jpg"])
        assert shown.model_version == "apprentice v1"
        assert shown.result[0].value["choices"][0] in {"cat", "dog"}
        assert 0.5 <= shown.score <= 1

        # "Retrieve predictions" sends all tasks that have none of this version in one request.
        retrieve(studio, info.id)
        by_task = {p.task: p for p in studio.predictions(project=info.id)}
        assert by_task.keys() == set(tasks.values())
        assert by_task[tasks["broken.jpg"]].result == ()
        assert all(by_task[tasks[name]].result for name in ("a.jpg", "b.jpg", "c.jpg"))
        with web.store.database.read() as db:
            known = get_tasks(db, project.id, list(tasks.values()))
            assert tasks_with_pending_answer(db, project.id) == set()
        assert known[tasks["b.jpg"]].embedded_space == space
        assert "text" in known[tasks["broken.jpg"]].image_error

        # The webhook that Label Studio made by itself has no secret; the annotator notices nothing.
        studio.create_annotation(tasks["a.jpg"], CAT)
        assert labels(web, project.id) == {}
        (webhook,) = studio.webhooks(info.id)
        studio.patch_webhook(
            webhook.id,
            webhook.url,
            actions=ACTIONS,
            headers={"X-Apprentice-Secret": connection.secret},
        )
        made = studio.create_annotation(tasks["b.jpg"], CAT)
        assert labels(web, project.id) == {made.id: tasks["b.jpg"]}
        studio.delete_annotation(made.id)
        assert labels(web, project.id) == {}

        before = learns(web, project.id)
        studio.http.call("POST", f"/api/ml/{backend.id}/train", json={})
        assert learns(web, project.id) == before + 1
        listed = studio.http.call("GET", f"/api/ml/{backend.id}/versions")
        assert "apprentice v1" in str(listed)

        studio.patch_backend(
            backend.id,
            info.id,
            f"{url}/c/default",
            "Apprentice",
            is_interactive=True,
            basic_auth=("ann", "pässword"),
        )
        answer = studio.http.call(
            "POST",
            f"/api/ml/{backend.id}/interactive-annotating",
            json={"task": tasks["c.jpg"], "context": {"result": []}},
        )
        assert answer["data"]["model_version"] == "apprentice v1"
        assert answer["data"]["result"]
    studio.delete_project(info.id)


def serve(web: Running, project) -> str:
    """Serve a version in the inference process's space; the space."""
    with web.store.database.read() as db:
        space = EMBEDDING_SPACE.get(db)
    web.store.database.write(lambda db: change_project(db, project.id, embedding_space=space))
    serve_version(web.store, project, space=space, dim=DIM)
    return space


def open_task(studio: StudioClient, project: int, task: int) -> None:
    """What the editor asks when somebody clicks on a task in the Data Manager."""
    studio.http.call("GET", f"/api/tasks/{task}/", params={"project": project})


def retrieve(studio: StudioClient, project: int) -> None:
    """The Data Manager's action on all tasks."""
    studio.http.call(
        "POST",
        "/api/dm/actions",
        params={"id": "retrieve_tasks_predictions", "project": project},
        json={"selectedItems": {"all": True, "excluded": []}},
    )


def labels(web: Running, project_id: int) -> dict[int, int]:
    web.app.state.app_state.inbox.wait_until_applied(30)
    with web.store.database.read() as db:
        return {a.ls_id: a.task_ls_id for a in current_annotations(db, project_id)}


def learns(web: Running, project_id: int) -> int:
    with web.store.database.read() as db:
        work = get_work(db, project_id, "learn")
    return work.wanted if work else 0
