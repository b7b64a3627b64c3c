"""Scripted servers, one that plays Label Studio and one that plays somebody else, and loaders."""

from collections.abc import Iterator

import pytest

from studio.client import StudioClient
from studio.images.loader import ImageLoader, ImagePolicy
from studio.records.projects import ProjectInfo
from studio.records.tasks import TaskInfo
from tests.support.scripted_studio import LEGACY_TOKEN, LOCAL, ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
def stranger() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[StudioClient]:
    with StudioClient(server.url, LEGACY_TOKEN) as opened:
        yield opened


@pytest.fixture
def loader(client: StudioClient) -> Iterator[ImageLoader]:
    """A loader that may also ask strangers on this machine."""
    opened = ImageLoader(client, ImagePolicy(addresses=LOCAL, max_bytes=100_000, max_seconds=10.0))
    yield opened
    opened.close()


@pytest.fixture
def strict(client: StudioClient) -> Iterator[ImageLoader]:
    """A loader with the default policy on addresses."""
    opened = ImageLoader(client)
    yield opened
    opened.close()


@pytest.fixture
def tasks(studio: StudioClient, studio_project: ProjectInfo) -> list[TaskInfo]:
    """Five tasks."""
    addresses = [{"image": f"http://images.example/{n}.jpg"} for n in range(5)]
    studio.import_tasks(studio_project.id, addresses)
    return list(studio.tasks(studio_project.id))
