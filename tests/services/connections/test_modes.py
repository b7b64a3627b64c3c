"""Outbound mode, basic authentication and legacy tokens, with the real Label Studio."""

import time
from pathlib import Path

import pytest

from backend.demo.label_studio import LabelStudioServer
from backend.doctor.readiness import web_is_ready
from services.connections.connect import ConnectingError, connect, disconnect
from services.connections.probe import await_probe
from services.connections.reach import REACH, RECHECK, Mode, Reach, read_connectivity
from services.connections.repair import repair
from store.projects.connections import DEFAULT, save_connection
from store.settings import Settings
from store.store import Store
from studio.client import StudioClient
from studio.records.projects import ProjectInfo
from tests.support.connecting import changes, registered, standing, wanted
from tests.support.processes import own_settings, running

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost:9", "nothing answers it at http://localhost:9"),
        ("http://apprentice.invalid:9090", "doesn't know the host"),
    ],
)
def test_where_label_studio_reaches_nothing_the_project_is_connected_in_outbound_mode(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, url: str, reason: str
) -> None:
    lines: list[str] = []
    project = connect(store, admin, DEFAULT, studio_project.id, url, tell=lines.append)
    (line,) = [line for line in lines if line.startswith("outbound mode")]
    assert reason in line
    assert (project.backend_id, project.webhook_id) == (None, None)
    assert wanted(store, project) == {"sync", "embed", "learn"}
    info, backends, webhooks = standing(admin, studio_project.id)
    assert (backends, webhooks, info.model_version) == ([], [], "")
    assert info.sampling == "Uncertainty sampling"


def test_the_mode_changes_when_the_reason_is_gone_and_back_when_no_event_arrives(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    project = connect(store, admin, DEFAULT, studio_project.id, "http://localhost:9")

    def look_again(url: str) -> Mode:
        """Check as the job sync does, and wait for the test event."""
        store.database.write(lambda db: RECHECK.of(project.id).set(db, time.time()))
        repair(store, admin, registered(store, studio_project), url)
        with store.database.read() as db:
            reach = REACH.of(project.id).get(db)
        assert reach is not None
        return await_probe(store, project.id, reach).mode

    assert look_again(settings.url) is Mode.INBOUND
    connected = registered(store, studio_project)
    assert connected.webhook_id is not None
    assert connected.backend_id is not None
    lost = Reach(probe_at=time.time() - 10, probe_heard=10**6, checked_at=time.time())
    store.database.write(lambda db: REACH.of(project.id).set(db, lost))
    with store.database.read() as db:
        found = read_connectivity(db, project.id, time.time())
    assert found is not None
    assert found.mode is Mode.BACKEND
    admin.delete_webhook(connected.webhook_id)  # the event is lost because somebody deleted it
    repair(store, admin, connected, settings.url)
    assert len(admin.webhooks(studio_project.id)) == 1
    store.database.write(lambda db: REACH.of(project.id).set(db, lost))
    repair(store, admin, connected, settings.url)
    assert admin.webhooks(studio_project.id) == []
    assert look_again(settings.url) is Mode.INBOUND


@pytest.mark.slow
def test_basic_auth_is_registered_and_a_wrong_password_is_explained(
    label_studio: LabelStudioServer,
    admin: StudioClient,
    studio_project: ProjectInfo,
    tmp_path: Path,
) -> None:
    guarded = own_settings(tmp_path, basic_auth_user="ann", basic_auth_pass="right")
    with running("serve", guarded, lambda: web_is_ready(guarded)):
        store = Store.open(guarded)
        save = (DEFAULT, label_studio.url, label_studio.token)
        store.database.write(lambda db: save_connection(db, *save))
        connect(store, admin, DEFAULT, studio_project.id, guarded.url)
        (backend,) = admin.backends(studio_project.id)
        assert (backend.state, backend.basic_auth_user) == ("CO", "ann")
        changes(admin)
        connect(store, admin, DEFAULT, studio_project.id, guarded.url)
        assert changes(admin) == []
        admin.delete_backend(backend.id)
        store.close()
        mistaken = guarded.model_copy(update={"basic_auth_user": "bob"})
        store = Store.open(mistaken)
        with pytest.raises(ConnectingError, match="BASIC_AUTH_USER"):
            connect(store, admin, DEFAULT, studio_project.id, mistaken.url)
        store.close()


def test_a_legacy_token_works_once_it_is_allowed(
    store: Store,
    admin: StudioClient,
    label_studio: LabelStudioServer,
    studio_project: ProjectInfo,
    settings: Settings,
) -> None:
    token = str(admin.http.call("GET", "/api/current-user/token")["token"])
    store.database.write(lambda db: save_connection(db, "legacy", label_studio.url, token))
    with StudioClient(label_studio.url, token) as legacy:
        with pytest.raises(ConnectingError, match="legacy token"):
            connect(store, legacy, "legacy", studio_project.id, settings.url)
        allow = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        admin.http.call("POST", "/api/jwt/settings", json=allow)
        try:
            project = connect(store, legacy, "legacy", studio_project.id, settings.url)
            disconnect(store, legacy, project)
        finally:
            allow["legacy_api_tokens_enabled"] = False
            admin.http.call("POST", "/api/jwt/settings", json=allow)
