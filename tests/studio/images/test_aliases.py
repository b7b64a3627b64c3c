"""Other addresses of a Label Studio in its tasks' data."""

from collections.abc import Iterator

import pytest

from studio.client import StudioClient
from studio.images.aliases import possible_alias, without_alias
from studio.images.loader import ImageLoader
from tests.support.scripted_studio import (
    IMAGE,
    LEGACY_TOKEN,
    UPLOAD,
    Reply,
    ScriptedServer,
)

LOCAL_FILE = "/data/local-files/?d=a/b.jpg"


@pytest.mark.parametrize(
    ("uri", "studio", "alias"),
    [
        ("/foo" + UPLOAD, "http://h", "/foo"),
        ("/foo/bar" + LOCAL_FILE, "http://h", "/foo/bar"),
        ("/foo/tasks/3/resolve/?fileuri=czM6Ly9h", "http://h", "/foo"),
        ("http://localhost:8080" + UPLOAD, "http://127.0.0.1:8080", "http://localhost:8080"),
        ("http://localhost:8080/foo" + LOCAL_FILE, "http://h", "http://localhost:8080/foo"),
        ("https://labels.example.com" + UPLOAD, "http://h", "https://labels.example.com"),
        ("http://h/foo" + UPLOAD, "http://h", "http://h/foo"),
        # its own addresses
        (UPLOAD, "http://h", None),
        ("http://h" + UPLOAD, "http://h", None),
        ("/labels" + UPLOAD, "https://h/labels", None),
        ("https://h/labels" + UPLOAD, "https://h/labels", None),
        # no files of a Label Studio
        ("https://example.com/cat.jpg", "http://h", None),
        ("https://example.com/?d=/data/upload/1/a.jpg", "http://h", None),
        ("s3://bucket/data/upload/1/a.jpg", "http://h", None),
        ("data:image/png;base64,AAAA", "http://h", None),
        ("//evil.example.com" + UPLOAD, "http://h", None),
        # another server may have another file of that name
        ("https://example.com" + LOCAL_FILE, "http://h", None),
        ("http://[bad" + UPLOAD, "http://h", None),
    ],
)
def test_what_may_be_an_alias(uri: str, studio: str, alias: str | None) -> None:
    assert possible_alias(uri, studio) == alias
    if alias is not None:
        assert without_alias(uri, [alias]) == uri.removeprefix(alias)


@pytest.mark.parametrize(
    "uri", ["/foot/data/upload/1/a.jpg", "http://localhost:80800/data/upload/1/a", "/foo/cat.jpg"]
)
def test_what_only_begins_like_an_alias_stays(uri: str) -> None:
    assert without_alias(uri, ["/foo", "http://localhost:8080"]) == uri


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.on("/labels" + UPLOAD, Reply(200, IMAGE))
        yield server


@pytest.mark.parametrize("alias", ["/foo", "http://localhost:9/bar"])
def test_the_token_goes_to_the_connected_label_studio_alone(
    server: ScriptedServer, alias: str
) -> None:
    with ScriptedServer() as other, StudioClient(f"{server.url}/labels", LEGACY_TOKEN) as client:
        alias = alias.replace("http://localhost:9", f"http://localhost:{other.port}")
        client.aliases = (alias,)
        loader = ImageLoader(client)
        assert loader.fetch(alias + UPLOAD, 1) == IMAGE
        loader.close()
        assert other.requests == []
    (request,) = server.requests
    assert request.authorization == f"Token {LEGACY_TOKEN}"
