"""Which paths of Label Studio get its token."""

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.client import StudioClient
from studio.images.loader import ImageError, ImageLoader
from studio.images.token_paths import is_image_file, takes_token
from tests.support.scripted_studio import IMAGE, LEGACY_TOKEN, Reply, ScriptedServer

BASE = "http://studio.example/ls"
WITH_TOKEN = [
    "/data/upload/1/a.jpg",
    "/data/upload/1/a%20b.jpg",
    "/data/upload/1/100%25.jpg",
    "/data//upload/1/a.jpg",
    "/data/upload/../upload/1/a.jpg",
    "/data/./upload/1/a.jpg",
    "/data/local-files/?d=a/../b.jpg",
    "/tasks/12/resolve/?fileuri=czM6Ly9i",
    "/tasks/12/resolve?fileuri=czM6Ly9i",
]
WITHOUT = [
    "/api/current-user/token",
    "/data/upload/../../api/current-user/token",
    "/data/upload/%2e%2e/%2e%2e/api/current-user/token",
    "/data/upload/%2E%2e%2f..%2Fapi/current-user/token",
    "/data/upload/%252e%252e/%252e%252e/api/",
    "/data/upload/%25252e%25252e/x",
    "/data/upload/..%5c..%5capi/current-user/token",
    "/data/upload/..%255c..%255capi/",
    "/data/upload/..;/..;/api/",
    "/data/upload/%2e%2e;x=1/api/",
    "/data/upload/.. /api/",
    "/data/upload/%00/a.jpg",
    "/data/upload/\x09/api/",
    "//api/current-user/token",
    "/data",
    "/data/",
    "/database/x.jpg",
    "/tasks/12/",
    "/tasks/x/resolve/",
    "/tasks/12/resolve/../../../api/",
    "/tasks/12/resolver/",
    "/tasks/١٢/resolve/",
    "/",
    "",
]


@pytest.mark.parametrize("path", WITH_TOKEN)
def test_images_get_the_token(path: str) -> None:
    assert takes_token(BASE + path, BASE)


@pytest.mark.parametrize("path", WITHOUT)
def test_nothing_else_does(path: str) -> None:
    with contextlib.suppress(httpx.InvalidURL):  # no URL at all: it is refused before
        assert not takes_token(BASE + path, BASE)


@pytest.mark.parametrize("path", [*WITH_TOKEN, "/ls2/data/upload/1/a.jpg", "/ls/../data/upload/a"])
def test_another_application_of_the_same_origin_does_not(path: str) -> None:
    assert not takes_token("http://studio.example" + path, BASE)


def test_an_image_file_beside_label_studio() -> None:
    assert is_image_file("http://h/images/cat.JPG?size=5", "http://h")
    assert is_image_file("http://h/ls/static/samples/sample.jpg", "http://h/ls")
    assert not is_image_file("http://h/static/sample.jpg", "http://h/ls")
    assert not is_image_file("http://h/metrics", "http://h")
    assert not is_image_file("http://h/api/x?y=a.jpg", "http://h")


@pytest.mark.parametrize("path", WITHOUT)
def test_no_request_of_such_a_path_carries_the_token(
    server: ScriptedServer, strict: ImageLoader, path: str
) -> None:
    with contextlib.suppress(ImageError):
        strict.fetch(server.url + path, 1)
    assert [request for request in server.requests if request.authorization] == []


@pytest.mark.parametrize("path", WITHOUT[:12])
def test_a_path_of_a_task_neither(server: ScriptedServer, strict: ImageLoader, path: str) -> None:
    for uri in (path, path.replace("/", "\\")):
        with pytest.raises(ImageError):
            strict.fetch(uri, 1)
    assert server.requests == []


def test_a_redirect_of_label_studio_to_its_api_gets_no_token(
    server: ScriptedServer, loader: ImageLoader
) -> None:
    server.on("/data/upload/1/a.jpg", Reply(302, headers={"Location": "/api/current-user/token"}))
    server.on("/api/current-user/token", Reply(200, IMAGE))
    loader.fetch("/data/upload/1/a.jpg", 1)
    assert [request.authorization is not None for request in server.requests] == [True, False]


def test_below_a_prefix_an_application_beside_it_gets_no_token(server: ScriptedServer) -> None:
    server.on("/data/upload/1/a.jpg", Reply(200, IMAGE))
    with StudioClient(f"{server.url}/ls", LEGACY_TOKEN) as client:
        loader = ImageLoader(client)
        with pytest.raises(ImageError):
            loader.fetch(f"{server.url}/data/upload/1/a.jpg", 1)
        loader.close()
    assert server.requests == []


@given(
    pieces=st.lists(
        st.sampled_from(
            ["/", "..", ".", "%2e", "%2E", "%2f", "%5c", "\\", "%25", "2e", "2f", ";", "data",
             "upload", "api", "a.jpg", "tasks", "1", "resolve", "%00", "//", "?", "#", "%09", " "]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_what_any_server_could_read_as_another_path_gets_no_token(pieces: list[str]) -> None:
    url = BASE + "/" + "".join(pieces)
    try:
        token = takes_token(url, BASE)
    except httpx.InvalidURL:
        return
    if token:
        path = url.partition("?")[0].partition("#")[0].removeprefix("http://studio.example")
        for _ in range(8):
            path = path.replace("%25", "%").replace("%2e", ".").replace("%2E", ".")
            path = path.replace("%2f", "/").replace("%5c", "\\")
        parts: list[str] = []
        for part in path.replace("\\", "/").split("/"):
            if part == ".." and parts:
                parts.pop()
            elif part not in ("", ".", ".."):
                parts.append(part)
        assert parts[:2] == ["ls", "data"] or parts[:2] == ["ls", "tasks"]
