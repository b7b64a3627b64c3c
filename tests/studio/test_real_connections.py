"""Connecting to the real Label Studio: backends, webhooks, tokens, its images, and its absence."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image

from backend.demo.label_studio import LabelStudioServer, create_image_project
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.errors import StudioRejected, StudioUnauthorized, StudioUnreachable
from studio.images.loader import (
    ImageLoader,
    ImagePolicy,
    PassingImageError,
    PermanentImageError,
    decode,
)
from studio.records.projects import ProjectInfo
from tests.conftest import TWO_CLASSES
from tests.support.reverse_proxy import hosted
from tests.support.scripted_studio import CERTIFICATE, LOCAL, Reply, ScriptedServer, json_reply

pytestmark = pytest.mark.e2e

CONTROL = parse_label_config(TWO_CLASSES).controls[0]
_NO_KEYS = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>
<KeyCount>0</KeyCount><MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"""


def jpeg(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 24), colour).save(stream, "JPEG")
    return stream.getvalue()


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
        (uri,) = CONTROL.images(task.data)
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
        loader = ImageLoader(studio, ImagePolicy(addresses=LOCAL))
        s3.requests.clear()
        assert loader.fetch(uri, task) == jpeg()
        (request,) = [request for request in s3.requests if request.method == "GET"]
        assert "Bearer" not in (request.authorization or "")
        assert ("X-Amz-Signature" in request.path) is presigned
        loader.close()


def test_a_hosted_server_below_a_path_with_a_certificate_of_its_own(
    studio: StudioClient, label_studio: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    files = [("image.jpg", jpeg())]
    info, tasks = create_image_project(studio, "hosted", TWO_CLASSES, files)
    with (
        hosted(label_studio.url, "/labels") as url,
        StudioClient(url, label_studio.token) as client,
    ):
        assert client.whoami() == studio.whoami()
        assert client.get_project(info.id) == info
        assert client.project_counts([info.id])[info.id].tasks == 1
        assert client.latest_change(info.id) == studio.latest_change(info.id)
        assert client.backend_refusal("http://10.0.0.1:9090") is None  # the guards are off
        (uri,) = CONTROL.images(client.get_task(tasks["image.jpg"]).data)
        loader = ImageLoader(client)
        for named in (str(uri), f"/labels{uri}", f"{url}{uri}"):
            assert loader.fetch(named, tasks["image.jpg"]) == jpeg()
        loader.close()
    studio.delete_project(info.id)


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
