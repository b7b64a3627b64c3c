"""A real web process, and a client of the real Label Studio."""

from collections.abc import Iterator

import pytest

from backend.demo.label_studio import LabelStudioServer
from backend.doctor.readiness import web_is_ready
from store.projects.connections import DEFAULT, save_connection
from store.settings import Settings
from store.store import Store
from studio.client import StudioClient
from tests.support.connecting import RecordingHttp
from tests.support.processes import own_settings, running


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Of a web process that answers."""
    settings = own_settings(tmp_path_factory.mktemp("connecting"))
    with running("serve", settings, lambda: web_is_ready(settings)):
        yield settings


@pytest.fixture(scope="package")
def store(settings: Settings, label_studio: LabelStudioServer) -> Iterator[Store]:
    store = Store.open(settings)
    url, token = label_studio.url, label_studio.token
    store.database.write(lambda db: save_connection(db, DEFAULT, url, token))
    yield store
    store.close()


@pytest.fixture
def admin(label_studio: LabelStudioServer) -> Iterator[StudioClient]:
    """A client whose changes are noted in `admin.http.changes`."""
    client = StudioClient(label_studio.url, label_studio.token)
    client.http.close()
    client.http = RecordingHttp(label_studio.url, label_studio.token, 60.0)
    client.http.changes = []
    yield client
    client.close()
