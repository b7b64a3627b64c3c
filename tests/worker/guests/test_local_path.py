"""The stand-in's `get_local_path`, with real files and a real server."""

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.scripted_studio import LEGACY_TOKEN, Reply, Request, ScriptedServer, json_reply
from worker.guests.stand_in.label_studio_ml.local_path import get_local_path

IMAGE = b"an image" * 1_000
PERSONAL_TOKEN = "header.payload.signature"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.delenv("GUEST_PRIVATE_ADDRESSES", raising=False)
    with ScriptedServer() as server:
        monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        server.on("/data/upload/1/a.png", Reply(200, IMAGE))
        yield server


@pytest.fixture
def elsewhere() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.on("/a.png", Reply(200, IMAGE))
        yield server


def test_an_uploaded_file_is_fetched_once_with_the_token(
    studio: ScriptedServer, tmp_path: Path
) -> None:
    first = Path(get_local_path("/data/upload/1/a.png"))
    assert first.read_bytes() == IMAGE
    assert first.suffix == ".png"
    assert first.is_relative_to(tmp_path)
    assert get_local_path("upload/1/a.png") == str(first)
    (asked,) = studio.requests
    assert asked.authorization == f"Token {LEGACY_TOKEN}"


def test_arguments_come_before_the_environment(
    studio: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    get_local_path("/data/upload/1/a.png", hostname=studio.url + "/", access_token="other")
    assert studio.requests[0].authorization == "Token other"


def test_a_personal_token_is_exchanged(studio: ScriptedServer) -> None:
    studio.on("/api/token/refresh/", json_reply({"access": "short-lived"}))
    get_local_path("/data/upload/1/a.png", access_token=PERSONAL_TOKEN)
    refreshed, asked = studio.requests
    assert PERSONAL_TOKEN.encode() in refreshed.body
    assert asked.authorization == "Bearer short-lived"


def test_a_file_in_cloud_storage_is_found_by_its_task_and_the_store_gets_no_token(
    studio: ScriptedServer, elsewhere: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUEST_PRIVATE_ADDRESSES", "10.0.0.0/8, 127.0.0.1")
    location = {"Location": f"{elsewhere.url}/a.png"}
    studio.on("/tasks/7/resolve/", Reply(303, b"", location))
    path = get_local_path("s3://bucket/a.png", task_id=7)
    assert Path(path).read_bytes() == IMAGE
    (asked,) = studio.requests
    named = parse_qs(urlsplit(asked.path).query)["fileuri"][0]
    assert base64.urlsafe_b64decode(named) == b"s3://bucket/a.png"
    assert asked.authorization == f"Token {LEGACY_TOKEN}"
    assert [each.authorization for each in elsewhere.requests] == [None]
    with pytest.raises(ValueError, match="its task's id"):
        get_local_path("s3://bucket/a.png")


def test_bytes_in_the_url_are_written_to_a_file(studio: ScriptedServer) -> None:
    encoded = base64.b64encode(IMAGE).decode()
    path = get_local_path(f"data:image/png;base64,{encoded}")
    assert Path(path).read_bytes() == IMAGE
    assert studio.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/data/upload/../../api/current-user/token",
        "/data/upload/%2e%2e/%2e%2e/api/current-user/token",
        "/api/current-user/token",
        "/tasks/7/resolve/../../../api/current-user/token",
    ],
)
def test_no_other_page_of_label_studio_gets_the_token(studio: ScriptedServer, path: str) -> None:
    studio.on(path, lambda request: Reply(200, (request.authorization or "nothing").encode()))
    found = get_local_path(studio.url + path)
    assert Path(found).read_bytes() == b"nothing"


@pytest.mark.parametrize(
    "url", ["/etc/passwd", "file:///etc/passwd", "ftp://127.0.0.1/a.png", "../secret", ""]
)
def test_no_file_of_this_machine_is_read(studio: ScriptedServer, url: str) -> None:
    with pytest.raises(ValueError, match="only http"):
        get_local_path(url)


def test_private_addresses_are_refused_unless_they_are_allowed(
    studio: ScriptedServer, elsewhere: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{elsewhere.url}/a.png"
    with pytest.raises(ValueError, match="APPRENTICE_IMAGE_PRIVATE_ADDRESSES="):
        get_local_path(url)
    studio.on("/data/upload/1/b.png", Reply(302, b"", {"Location": url}))
    with pytest.raises(ValueError, match="private address"):
        get_local_path("/data/upload/1/b.png")
    assert elsewhere.requests == []
    monkeypatch.setenv("GUEST_PRIVATE_ADDRESSES", "true")
    assert Path(get_local_path(url)).read_bytes() == IMAGE
    with pytest.raises(ValueError, match="private address"):
        get_local_path("http://169.254.169.254/latest/meta-data")


def test_what_was_not_fetched_whole_is_fetched_again(
    studio: ScriptedServer, tmp_path: Path
) -> None:
    replies = iter([Reply(404), Reply(200, b"", {"Content-Length": "9"}, _part), Reply(200, IMAGE)])

    def answer(_request: Request) -> Reply:
        return next(replies)

    studio.on("/data/upload/1/c.png", answer)
    with pytest.raises(OSError, match="404"):
        get_local_path("/data/upload/1/c.png")
    with pytest.raises(OSError, match="before all of the file"):
        get_local_path("/data/upload/1/c.png")
    assert list((tmp_path / "downloads").iterdir()) == []
    assert Path(get_local_path("/data/upload/1/c.png")).read_bytes() == IMAGE


def _part(handler) -> None:
    handler.wfile.write(b"half")
