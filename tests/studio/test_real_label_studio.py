"""The client against the real Label Studio: each call, and the facts that the loop stands on."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image

from backend.demo.label_studio import LabelStudioServer, create_image_project
from studio.addresses import AddressPolicy
from studio.calls import tasks as task_calls
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.errors import StudioNotFound, StudioRejected, StudioUnauthorized, StudioUnreachable
from studio.images import ImageLoader, ImagePolicy, PassingImageError, PermanentImageError, decode
from studio.records import NewPrediction, ProjectInfo, TaskInfo
from tests.conftest import TWO_CLASSES
from tests.studio.support import Reply, ScriptedServer, json_reply

pytestmark = pytest.mark.e2e

CONTROL = parse_label_config(TWO_CLASSES).controls[0]
CAT = CONTROL.write("cat", 0.9)
_NO_KEYS = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>
<KeyCount>0</KeyCount><MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"""


def jpeg(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 24), colour).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def tasks(studio: StudioClient, studio_project: ProjectInfo) -> list[TaskInfo]:
    """Five tasks."""
    addresses = [{"image": f"http://images.example/{n}.jpg"} for n in range(5)]
    studio.import_tasks(studio_project.id, addresses)
    return list(studio.tasks(studio_project.id))


def predict(tasks: list[TaskInfo], version: str, scores: list[float]) -> list[NewPrediction]:
    return [
        NewPrediction(task.id, (CAT,), score, version)
        for task, score in zip(tasks, scores, strict=True)
    ]


def test_who_and_what(studio: StudioClient, label_studio: LabelStudioServer) -> None:
    assert studio.whoami().email == label_studio.email
    assert studio.version() == "1.23.2"
    assert studio.seconds_spent > 0


def test_a_project(studio: StudioClient, studio_project: ProjectInfo) -> None:
    assert studio.get_project(studio_project.id) == studio_project
    assert studio_project.label_config == TWO_CLASSES
    assert studio_project.model_version == ""
    assert studio_project in list(studio.projects())
    changed = studio.patch_project(
        studio_project.id, sampling="Uncertainty sampling", maximum_annotations=2
    )
    assert (changed.sampling, changed.maximum_annotations) == ("Uncertainty sampling", 2)
    assert studio.patch_project(studio_project.id, model_version="").model_version == ""
    with pytest.raises(StudioRejected, match="Model version doesn't exist"):
        studio.patch_project(studio_project.id, model_version="never pushed")


def test_a_deleted_project_is_not_found(studio: StudioClient) -> None:
    project = studio.create_project("gone", TWO_CLASSES)
    studio.delete_project(project.id)
    for call in (
        lambda: studio.get_project(project.id),
        lambda: list(studio.tasks(project.id)),
        lambda: studio.predictions(project=project.id),
        lambda: studio.backends(project.id),
        lambda: studio.webhooks(project.id),
        lambda: studio.next_task(project.id),
        lambda: studio.model_versions(project.id),
    ):
        with pytest.raises(StudioNotFound):
            call()


def test_all_tasks_are_listed_over_pages_though_one_is_deleted_meanwhile(
    studio: StudioClient,
    studio_project: ProjectInfo,
    tasks: list[TaskInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_calls, "LIGHT_PAGE", 2)
    ids = [task.id for task in tasks]
    assert list(studio.task_ids(studio_project.id)) == ids
    listing = studio.tasks(studio_project.id)
    first = next(listing)
    assert first.data == {"image": "http://images.example/0.jpg"}
    studio.delete_task(first.id)
    assert [task.id for task in listing] == ids[1:]
    assert [head.id for head in studio.task_heads(studio_project.id)] == ids[1:]


def test_annotations_are_found_by_time_with_all_that_is_needed(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    newest = studio.newest_update(studio_project.id)
    assert newest == max(task.updated_at for task in tasks if task.updated_at)
    assert list(studio.changed_tasks(studio_project.id, newest)) == []
    prediction = studio.create_prediction(predict(tasks[:1], "v1", [0.5])[0])
    made = studio.create_annotation(
        tasks[1].id, [CAT], lead_time=2.5, ground_truth=True, parent_prediction=None
    )
    kept = studio.create_annotation(tasks[0].id, [CAT], parent_prediction=prediction.id)
    assert kept.parent_prediction == prediction.id
    changed = {task.id: task for task in studio.changed_tasks(studio_project.id, newest)}
    assert set(changed) == {tasks[0].id, tasks[1].id}
    assert changed[tasks[1].id].annotations == (made,)
    assert changed[tasks[0].id].annotations == (kept,)
    assert made.ground_truth
    assert made.lead_time == 2.5
    assert made.completed_by == studio.whoami().id
    assert CONTROL.read(made.result) == "cat"
    after = list(studio.changed_tasks(studio_project.id, newest, after=tasks[0].id))
    assert [task.id for task in after] == [tasks[1].id]


def test_every_change_moves_the_tasks_time_but_bulk_predictions_dont(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    project, task = studio_project.id, tasks[0].id
    seen = studio.newest_update(project)

    def moved() -> bool:
        nonlocal seen
        before, seen = seen, studio.newest_update(project)
        return [found.id for found in studio.changed_tasks(project, before)] == [task]

    annotation = studio.create_annotation(task, [CAT])
    assert moved()
    studio.edit_annotation(annotation.id, [CONTROL.write("dog", 0.5)])
    assert moved()
    assert studio.get_annotation(annotation.id) is not None
    studio.delete_annotation(annotation.id)
    assert moved()
    assert studio.get_annotation(annotation.id) is None
    assert studio.create_annotation(task, [], was_cancelled=True).was_cancelled
    assert moved()
    studio.edit_task(task, {"image": "http://images.example/new.jpg"})
    assert moved()
    prediction = studio.create_prediction(predict(tasks[:1], "v1", [0.5])[0])
    assert moved()
    studio.delete_prediction(prediction.id)
    assert moved()
    studio.import_predictions(project, predict(tasks, "v2", [0.1] * 5))
    assert not moved()
    studio.delete_model_version(project, "v2")
    assert not moved()


def test_heads_count_annotations_and_skips(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    studio.create_annotation(tasks[0].id, [CAT])
    studio.create_annotation(tasks[1].id, [], was_cancelled=True)
    heads = list(studio.task_heads(studio_project.id))
    assert [(head.annotations, head.skipped) for head in heads[:3]] == [(1, 0), (0, 1), (0, 0)]
    assert heads[2].created_at == tasks[2].created_at
    project = studio.get_project(studio_project.id)
    assert (project.tasks, project.annotations, project.skipped) == (5, 1, 1)


def test_predictions_are_pushed_listed_and_deleted(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    project = studio_project.id
    assert studio.import_predictions(project, []) == 0
    assert studio.import_predictions(project, predict(tasks, "v1", [0.1, 0.2, 0.3, 0.4, 0.5])) == 5
    empty = NewPrediction(tasks[0].id, (), 0.7, "v2")
    assert studio.import_predictions(project, [empty]) == 1
    bad_score = NewPrediction(tasks[1].id, (CAT,), 1.5, "v2")
    bad_class = NewPrediction(tasks[1].id, ({**CAT, "value": {"choices": ["zebra"]}},), 0.5, "v2")
    assert studio.import_predictions(project, [bad_score, bad_class]) == 0
    with pytest.raises(StudioRejected, match="invalid"):
        studio.import_predictions(project, [NewPrediction(999_999_999, (CAT,), 0.5, "v2")])
    assert studio.model_versions(project) == {"v1": 5, "v2": 1}
    listed = studio.predictions(project=project)
    assert sorted(p.score or 0 for p in listed) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]
    of_first = studio.predictions(task=tasks[0].id)
    assert {(p.model_version, p.score, len(p.result)) for p in of_first} == {
        ("v1", 0.1, 1),
        ("v2", 0.7, 0),
    }
    assert CONTROL.read(studio.predictions(task=tasks[1].id)[0].result) == "cat"
    with pytest.raises(ValueError):
        studio.predictions()
    assert studio.delete_model_version(project, "v1") == 5
    assert studio.model_versions(project) == {"v2": 1}


def test_next_follows_the_served_versions_score_for_two_annotators(
    label_studio: LabelStudioServer,
    studio: StudioClient,
    studio_project: ProjectInfo,
    tasks: list[TaskInfo],
) -> None:
    project = studio_project.id
    studio.import_predictions(project, predict(tasks, "old", [0.1, 0.2, 0.3, 0.4, 0.5]))
    studio.import_predictions(project, predict(tasks, "new", [0.4, 0.1, 0.3, 0.05, 0.2]))
    studio.patch_project(project, model_version="new", sampling="Uncertainty sampling")
    token = label_studio.add_user("second@example.com", "a long password")
    handed_out = []
    with StudioClient(label_studio.url, token, 60.0) as second:
        assert second.whoami().email == "second@example.com"
        for turn in range(5):
            annotator = second if turn % 2 else studio
            task = annotator.next_task(project)
            assert task is not None
            assert annotator.next_task(project) is not None
            handed_out.append(task.id)
            served = [p for p in task.predictions if p.model_version == "new"]
            annotator.create_annotation(task.id, [CAT], parent_prediction=served[0].id)
        assert second.next_task(project) is None
    assert handed_out == [tasks[n].id for n in (3, 1, 4, 2, 0)]


def test_a_webhook_keeps_its_actions_and_headers(
    studio: StudioClient, studio_project: ProjectInfo
) -> None:
    project = studio_project.id
    url = "http://localhost:9090/webhook"
    made = studio.create_webhook(
        project,
        url,
        actions=["ANNOTATION_CREATED", "ANNOTATIONS_DELETED"],
        headers={"X-Secret": "1"},
    )
    assert made.actions == {"ANNOTATION_CREATED", "ANNOTATIONS_DELETED"}
    assert (made.headers, made.is_active, made.send_payload) == ({"X-Secret": "1"}, True, True)
    changed = studio.patch_webhook(
        made.id, url, actions=["ANNOTATION_UPDATED"], headers={"X-Secret": "2"}
    )
    assert (changed.actions, changed.headers) == ({"ANNOTATION_UPDATED"}, {"X-Secret": "2"})
    assert studio.webhooks(project) == [changed]
    assert changed in studio.webhooks()
    with pytest.raises(StudioRejected, match="valid URL"):
        studio.create_webhook(project, "http://apprentice:9090/webhook", actions=[], headers={})
    studio.delete_webhook(made.id)
    assert studio.webhooks(project) == []


def test_a_backend_and_the_traps_around_it(
    studio: StudioClient, studio_project: ProjectInfo
) -> None:
    project = studio_project.id
    with ScriptedServer() as backend:
        with pytest.raises(StudioRejected, match="health check failed"):
            studio.create_backend(project, backend.url, "Apprentice")
        backend.on("/health", json_reply({"status": "UP"}))
        backend.on("/setup", json_reply({"model_version": "v1"}))
        made = studio.create_backend(
            project, backend.url, "Apprentice", basic_auth=("user", "password")
        )
        assert (made.url, made.title, made.basic_auth_user) == (backend.url, "Apprentice", "user")
        assert made.has_password
        assert backend.asked("/setup")[0].authorization is not None
        assert studio.backends(project) == [made]
        assert studio.get_project(project).model_version == "Apprentice"
        (hook,) = studio.webhooks(project)
        assert (hook.url, hook.send_for_all_actions) == (f"{backend.url}/webhook", True)
        changed = studio.patch_backend(made.id, project, backend.url, "Other", is_interactive=True)
        assert (changed.title, changed.is_interactive) == ("Other", True)
        studio.delete_backend(made.id)
        assert studio.backends(project) == []
        assert len(studio.webhooks(project)) == 1


def test_uploads_are_loaded_with_the_token_and_decoded(studio: StudioClient) -> None:
    files = [(f"image-{n}.jpg", jpeg((n, 100, 200))) for n in range(3)]
    project, by_name = create_image_project(studio, "uploads", TWO_CLASSES, files)
    assert project.tasks == 3
    assert set(by_name) == {name for name, _ in files}
    loader = ImageLoader(studio)
    for name, data in files:
        task = studio.get_task(by_name[name])
        uri = CONTROL.image(task.data)
        assert uri is not None
        assert loader.fetch(uri, task.id) == data
        assert loader.fetch(studio.url + uri, task.id) == data
        assert decode(data, loader.policy).size == (32, 24)
        assert httpx.get(studio.url + uri).status_code == 401
    with pytest.raises(PermanentImageError, match="any more"):
        loader.fetch("/data/upload/1/00000000-nothing.jpg", 1)
    with pytest.raises(PermanentImageError, match="404"):
        loader.fetch("s3://no-such-storage/key.jpg", by_name["image-0.jpg"])
    with pytest.raises(PermanentImageError, match="403"):
        loader.fetch("/data/local-files/?d=not/served.jpg", 1)
    loader.close()
    studio.delete_project(project.id)


@pytest.mark.parametrize("presigned", [True, False])
def test_a_cloud_image_is_loaded_through_label_studio(
    studio: StudioClient, studio_project: ProjectInfo, presigned: bool
) -> None:
    with ScriptedServer() as s3:
        s3.on("/bucket", Reply(200, _NO_KEYS))
        s3.on("/bucket/a folder/cat.jpg".replace(" ", "%20"), Reply(200, jpeg()))
        storage = {
            "project": studio_project.id,
            "bucket": "bucket",
            "s3_endpoint": s3.url,
            "aws_access_key_id": "key",
            "aws_secret_access_key": "a secret",
            "region_name": "us-east-1",
            "use_blob_urls": True,
            "presign": presigned,
        }
        studio.http.call("POST", "/api/storages/s3/", json=storage)
        uri = "s3://bucket/a folder/cat.jpg"
        (task,) = studio.import_tasks(studio_project.id, [{"image": uri}]).task_ids
        assert studio.get_task(task).data == {"image": uri}
        loader = ImageLoader(studio, ImagePolicy(addresses=AddressPolicy(allow_private=True)))
        s3.requests.clear()
        assert loader.fetch(uri, task) == jpeg()
        (request,) = [request for request in s3.requests if request.method == "GET"]
        assert "Bearer" not in (request.authorization or "")
        assert ("X-Amz-Signature" in request.path) is presigned
        loader.close()


def test_legacy_tokens_work_where_they_are_switched_on(studio: StudioClient) -> None:
    token = str(studio.http.call("GET", "/api/current-user/token")["token"])
    switch = {"api_tokens_enabled": True, "api_token_ttl_days": 30}
    path = "/api/jwt/settings"
    with StudioClient(studio.url, token) as legacy:
        with pytest.raises(StudioUnauthorized, match="legacy"):
            legacy.whoami()
        studio.http.call("POST", path, json={**switch, "legacy_api_tokens_enabled": True})
        assert legacy.whoami() == studio.whoami()
        studio.http.call("POST", path, json={**switch, "legacy_api_tokens_enabled": False})
        with pytest.raises(StudioUnauthorized):
            legacy.whoami()


def test_it_stops_and_comes_back_with_the_same_address_and_token(
    label_studio: LabelStudioServer, studio: StudioClient
) -> None:
    before = label_studio.url, label_studio.token, studio.whoami()
    label_studio.stop()
    try:
        assert not label_studio.running
        with pytest.raises(StudioUnreachable):
            studio.whoami()
        loader = ImageLoader(studio)
        with pytest.raises(PassingImageError):
            loader.fetch("/data/upload/1/00000000-a.jpg", 1)
        loader.close()
    finally:
        label_studio.start()
    assert (label_studio.url, label_studio.token, studio.whoami()) == before
    assert (Path(label_studio.log).parent / "login.json").stat().st_mode & 0o777 == 0o600
