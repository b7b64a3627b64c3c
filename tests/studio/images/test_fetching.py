"""Where images are fetched from, with and without the token, and what is given up for good."""

import base64

import pytest

from studio.client import StudioClient
from studio.images.loader import ImageLoader, ImagePolicy, PassingImageError, PermanentImageError
from tests.support.scripted_studio import IMAGE, LEGACY_TOKEN, LOCAL, UPLOAD, Reply, ScriptedServer


def test_an_upload_is_fetched_with_the_token(server: ScriptedServer, strict: ImageLoader) -> None:
    server.on(UPLOAD, Reply(200, IMAGE))
    assert strict.fetch(UPLOAD, 5) == IMAGE
    assert server.requests[0].authorization == f"Token {LEGACY_TOKEN}"


def test_a_local_file_is_fetched_with_its_query(
    server: ScriptedServer, strict: ImageLoader
) -> None:
    server.on("/data/local-files/", Reply(200, IMAGE))
    assert strict.fetch("/data/local-files/?d=images/a%20b.jpg", 5) == IMAGE
    assert server.requests[0].path == "/data/local-files/?d=images/a%20b.jpg"


@pytest.mark.parametrize(
    "uri", ["s3://bucket/kéy 1.jpg", "gs://bucket/a/b.png", "azure-blob://container/x.tif"]
)
def test_a_cloud_uri_goes_through_label_studio(
    server: ScriptedServer, strict: ImageLoader, uri: str
) -> None:
    server.on("/tasks/77/resolve/", Reply(200, IMAGE))
    assert strict.fetch(uri, 77) == IMAGE
    query = server.requests[0].path.split("fileuri=")[1]
    assert base64.urlsafe_b64decode(query.replace("%3D", "=")).decode() == uri


def test_a_presigned_redirect_is_followed_without_the_token(
    server: ScriptedServer, stranger: ScriptedServer, loader: ImageLoader
) -> None:
    location = f"{stranger.url}/bucket/key?X-Amz-Signature=abc%2F1"
    server.on("/tasks/7/resolve/", Reply(303, headers={"Location": location}))
    stranger.on("/bucket/key", Reply(200, IMAGE))
    assert loader.fetch("s3://bucket/key", 7) == IMAGE
    assert server.requests[0].authorization is not None
    assert stranger.requests[0].authorization is None
    assert stranger.requests[0].path == "/bucket/key?X-Amz-Signature=abc%2F1"
    assert stranger.requests[0].headers["host"] == f"127.0.0.1:{stranger.port}"


def test_an_absolute_url_gets_the_token_on_label_studios_origin_only(
    server: ScriptedServer, stranger: ScriptedServer, loader: ImageLoader
) -> None:
    server.on(UPLOAD, Reply(200, IMAGE))
    stranger.on(UPLOAD, Reply(200, IMAGE))
    loader.fetch(f"{server.url}{UPLOAD}", 1)
    loader.fetch(f"{stranger.url}{UPLOAD}", 1)
    loader.fetch(f"http://localhost:{server.port}{UPLOAD}", 1)
    assert [request.authorization is not None for request in server.requests] == [True, False]
    assert stranger.requests[0].authorization is None


def test_a_stranger_cant_steer_the_token(
    server: ScriptedServer, stranger: ScriptedServer, loader: ImageLoader
) -> None:
    stranger.on("/go", Reply(302, headers={"Location": f"{server.url}/api/projects/1/next/"}))
    server.on("/api/projects/1/next/", Reply(200, IMAGE))
    loader.fetch(f"{stranger.url}/go", 1)
    assert server.requests[0].authorization is None


def test_a_foreign_private_address_is_refused_before_it_is_asked(
    stranger: ScriptedServer, strict: ImageLoader
) -> None:
    with pytest.raises(PermanentImageError, match="not a public address"):
        strict.fetch(f"{stranger.url}/a.jpg", 1)
    assert stranger.requests == []


def test_a_redirect_to_a_private_address_is_refused(
    server: ScriptedServer, stranger: ScriptedServer, strict: ImageLoader
) -> None:
    server.on("/tasks/7/resolve/", Reply(303, headers={"Location": f"{stranger.url}/key"}))
    with pytest.raises(PermanentImageError, match="not a public address"):
        strict.fetch("s3://bucket/key", 7)
    assert stranger.requests == []


def test_a_server_below_a_path_prefix(server: ScriptedServer) -> None:
    server.on("/ls/data/upload/1/a.jpg", Reply(200, IMAGE))
    with StudioClient(f"{server.url}/ls", LEGACY_TOKEN) as client:
        loader = ImageLoader(client)
        assert loader.fetch("/ls/data/upload/1/a.jpg", 1) == IMAGE
        assert loader.fetch("/data/upload/1/a.jpg", 1) == IMAGE
        loader.close()


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 451])
def test_these_statuses_are_permanent(
    server: ScriptedServer, strict: ImageLoader, status: int
) -> None:
    server.on(UPLOAD, Reply(status))
    with pytest.raises(PermanentImageError, match=str(status)):
        strict.fetch(UPLOAD, 1)


@pytest.mark.parametrize("status", [401, 408, 424, 425, 429, 500, 502, 503, 504])
def test_these_statuses_are_passing(
    server: ScriptedServer, strict: ImageLoader, status: int
) -> None:
    server.on(UPLOAD, Reply(status))
    with pytest.raises(PassingImageError, match=str(status)):
        strict.fetch(UPLOAD, 1)


def test_an_upload_that_label_studio_forgot_is_permanent(
    server: ScriptedServer, strict: ImageLoader
) -> None:
    body = b"""{"detail": "'NoneType' object has no attribute 'has_permission'"}"""
    server.on(UPLOAD, Reply(500, body))
    with pytest.raises(PermanentImageError, match="any more"):
        strict.fetch(UPLOAD, 1)


def test_a_redirect_to_the_login_page_is_passing(
    server: ScriptedServer, strict: ImageLoader
) -> None:
    server.on(UPLOAD, Reply(302, headers={"Location": f"/user/login/?next={UPLOAD}"}))
    with pytest.raises(PassingImageError, match="sign in"):
        strict.fetch(UPLOAD, 1)


def test_redirects_are_limited(server: ScriptedServer, strict: ImageLoader) -> None:
    server.on(UPLOAD, Reply(302, headers={"Location": UPLOAD}))
    with pytest.raises(PermanentImageError, match="redirects"):
        strict.fetch(UPLOAD, 1)
    assert len(server.requests) == ImagePolicy().max_redirects + 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://[::", ""]
)
def test_a_redirect_to_nowhere_good_is_permanent(
    stranger: ScriptedServer, loader: ImageLoader, location: str
) -> None:
    stranger.on("/a.jpg", Reply(302, headers={"Location": location} if location else {}))
    with pytest.raises(PermanentImageError):
        loader.fetch(f"{stranger.url}/a.jpg", 1)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "cat.jpg",
        "file:///etc/passwd",
        "ftp://host/x.jpg",
        "javascript:alert(1)",
        "http://",
        "http://[",
        "http://host:99999/x.jpg",
        "http://exa mple/x.jpg",
        "C:\\images\\cat.jpg",
        "<img src='http://host/x.jpg'>",
    ],
)
def test_what_is_no_address_is_permanent(strict: ImageLoader, uri: str) -> None:
    with pytest.raises(PermanentImageError):
        strict.fetch(uri, 1)


def test_an_empty_answer_is_permanent(server: ScriptedServer, strict: ImageLoader) -> None:
    server.on(UPLOAD, Reply(200))
    with pytest.raises(PermanentImageError, match="empty"):
        strict.fetch(UPLOAD, 1)


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64," + base64.b64encode(IMAGE).decode(),
        "DATA:;BASE64," + base64.b64encode(IMAGE).decode().rstrip("="),
        "data:image/svg+xml,the%20bytes%20of%20an%20image",
    ],
)
def test_data_uris(uri: str) -> None:
    assert ImageLoader(None).fetch(uri, 1) == IMAGE


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64", "data:image/png;base64,A", "data:,", "data:," + "x" * 400]
)
def test_broken_and_big_data_uris_are_permanent(uri: str) -> None:
    with pytest.raises(PermanentImageError):
        ImageLoader(None, ImagePolicy(max_bytes=100)).fetch(uri, 1)


def test_without_label_studio_its_addresses_are_permanent_faults(server: ScriptedServer) -> None:
    server.on("/a.jpg", Reply(200, IMAGE))
    loader = ImageLoader(None, ImagePolicy(addresses=LOCAL))
    for uri in (UPLOAD, "s3://bucket/key"):
        with pytest.raises(PermanentImageError, match="through Label Studio"):
            loader.fetch(uri, 1)
    assert loader.fetch(f"{server.url}/a.jpg", 1) == IMAGE
    loader.close()
