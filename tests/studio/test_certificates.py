"""Certificates: authorities of the environment, and errors that say what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.certificates import VARIABLES
from studio.client import StudioClient
from studio.errors import StudioUnreachable
from studio.images.loader import ImageLoader
from studio.images.policy import ImagePolicy, PassingImageError
from tests.support.scripted_studio import (
    CERTIFICATE,
    IMAGE,
    LEGACY_TOKEN,
    LOCAL,
    UPLOAD,
    Reply,
    ScriptedServer,
    json_reply,
)

WHOAMI = "/labels/api/current-user/whoami"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def secure_server() -> Iterator[ScriptedServer]:
    """A Label Studio below /labels, whose certificate only its admin knows."""
    with ScriptedServer(tls=True) as server:
        server.on(WHOAMI, json_reply({"id": 1, "email": "a@example.com"}))
        server.on("/labels" + UPLOAD, Reply(200, IMAGE))
        yield server


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_an_own_certificate_is_trusted_by_either_variable(
    secure_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(CERTIFICATE))
    with StudioClient(f"{secure_server.url}/labels", LEGACY_TOKEN) as client:
        assert client.whoami().email == "a@example.com"
        loader = ImageLoader(client)
        assert loader.fetch(UPLOAD, 1) == IMAGE
        loader.close()


def test_the_error_names_the_variables(secure_server: ScriptedServer) -> None:
    with (
        StudioClient(f"{secure_server.url}/labels", LEGACY_TOKEN) as client,
        pytest.raises(StudioUnreachable, match=r"self.signed.*SSL_CERT_FILE.*REQUESTS_CA_BUNDLE"),
    ):
        client.whoami()


def test_the_error_for_an_image_elsewhere_names_the_variables(
    secure_server: ScriptedServer,
) -> None:
    loader = ImageLoader(None, ImagePolicy(addresses=LOCAL))
    with pytest.raises(PassingImageError, match="SSL_CERT_FILE"):
        loader.fetch(f"{secure_server.url}/a.jpg", 1)
    loader.close()


def test_a_certificate_of_another_host_is_told_apart(
    secure_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with (
        StudioClient(f"https://127.0.0.1:{secure_server.port}/labels", LEGACY_TOKEN) as client,
        pytest.raises(StudioUnreachable, match="another host"),
    ):
        client.whoami()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_variable_that_names_no_certificates_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "nothing.pem"))
    with pytest.raises(ValueError, match=variable):
        StudioClient("https://labels.example.com", LEGACY_TOKEN)
