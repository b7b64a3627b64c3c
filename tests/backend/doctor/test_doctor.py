"""The doctor beside a running Apprentice and the real Label Studio: what is well, what is not."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, text

from backend.demo.label_studio import LabelStudioServer
from backend.doctor.checks import Check, Level
from backend.doctor.machine import disk, examine
from backend.doctor.readiness import not_ready
from services.connections.connect import ConnectingError, connect, disconnect
from services.connections.registration import ACTIONS
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import Project
from store.settings import Settings
from store.store import Store
from store.work import pending_work
from studio.client import StudioClient
from studio.records.projects import ProjectInfo
from tests.conftest import TWO_CLASSES
from tests.support.processes import own_settings, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def findings(settings: Settings) -> dict[str, Check]:
    """{the check's name without Label Studio's ids: check}."""
    return {check.name: check for check in examine(settings)}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, backbones: Path) -> Iterator[Settings]:
    settings = own_settings(tmp_path_factory.mktemp("doctor"), backbones=backbones)
    with running("up", settings, lambda: not not_ready(settings)):
        yield settings


@pytest.fixture(scope="module")
def store(settings: Settings, label_studio: LabelStudioServer) -> Iterator[Store]:
    store = Store.open(settings)
    url, token = label_studio.url, label_studio.token
    store.database.write(lambda db: save_connection(db, DEFAULT, url, token))
    yield store
    store.close()


@pytest.fixture
def project(
    store: Store, studio: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> Iterator[Project]:
    """A connected project that was reconciled."""
    connected = connect(store, studio, DEFAULT, studio_project.id, settings.url)
    yield connected
    with contextlib.suppress(ConnectingError):
        disconnect(store, studio, connected)


def test_all_is_well_beside_a_running_apprentice(
    settings: Settings, project: Project, label_studio: LabelStudioServer
) -> None:
    found = findings(settings)
    broken = {name: check for name, check in found.items() if check.level is Level.BROKEN}
    assert broken == {}
    for name in ("database", "broker", "web", "inference", "worker sync", "worker embed"):
        assert found[name].level is Level.OK
    assert label_studio.email in found["label studio default token"].message
    assert found[f"project {project.ls_id} backend"].level is Level.OK
    assert found[f"project {project.ls_id} webhook"].level is Level.OK
    assert found["label studio default ML_BLOCK_LOCAL_IP"].level is Level.OK
    assert found["label studio default SSRF_PROTECTION_ENABLED"].level is Level.OK


def test_what_somebody_changed_in_label_studio_is_found(
    settings: Settings, project: Project, studio: StudioClient
) -> None:
    name = f"project {project.ls_id}"
    url = f"{settings.url}/webhook"
    assert project.webhook_id is not None
    studio.patch_webhook(project.webhook_id, url, actions=ACTIONS, headers={})
    studio.patch_project(project.ls_id, model_version="Apprentice", sampling="Uniform sampling")
    found = findings(settings)
    assert found[f"{name} webhook"].level is Level.BROKEN
    assert "secret" in found[f"{name} webhook"].message
    assert found[f"{name} model version"].level is Level.BROKEN
    assert "title" in found[f"{name} model version"].message
    assert found[f"{name} sampling"].level is Level.WARNING
    for check in ("webhook", "model version"):
        assert f"apprentice connect --project {project.ls_id}" in found[f"{name} {check}"].advice
    studio.delete_webhook(project.webhook_id)
    assert findings(settings)[f"{name} webhook"].level is Level.BROKEN
    assert project.backend_id is not None
    studio.delete_backend(project.backend_id)
    assert findings(settings)[f"{name} backend"].level is Level.BROKEN


def test_a_webhook_without_a_backend_is_an_orphan(
    settings: Settings, store: Store, studio: StudioClient, studio_project: ProjectInfo
) -> None:
    url = f"{settings.url}/webhook"
    webhook = studio.create_webhook(studio_project.id, url, actions=ACTIONS, headers={})
    found = findings(settings)["label studio default orphan webhooks"]
    assert found.level is Level.WARNING
    assert f"project {studio_project.id}" in found.message
    studio.delete_webhook(webhook.id)
    assert findings(settings)["label studio default orphan webhooks"].level is Level.OK


def test_work_that_fails_again_and_again_is_broken(
    settings: Settings, store: Store, project: Project
) -> None:
    def fail_often(db: Connection) -> None:
        pending_work.want(db, project.id, "publish")
        for _ in range(3):
            pending_work.fail(db, project.id, "publish", "Label Studio says no")

    store.database.write(fail_often)
    found = findings(settings)[f"project {project.ls_id} publish"]
    assert found.level is Level.BROKEN
    assert "Label Studio says no" in found.message


def test_a_refused_token_and_an_absent_server_are_told_apart(
    settings: Settings, label_studio: LabelStudioServer
) -> None:
    wrong = settings.model_copy(
        update={
            "label_studio_url": label_studio.url,
            "label_studio_api_key": SecretStr("0123456789" * 4),
        }
    )
    found = findings(wrong)
    assert found["label studio default"].level is Level.OK
    assert found["label studio default token"].level is Level.BROKEN
    assert "Personal Access Token" in found["label studio default token"].message
    absent = wrong.model_copy(update={"label_studio_url": "http://127.0.0.1:9"})
    found = findings(absent)
    assert found["label studio default"].level is Level.BROKEN
    assert "label studio default token" not in found


def test_a_stock_label_studio_is_well_in_outbound_mode(
    settings: Settings, environment: Path, empty_label_studio: Path, tmp_path: Path
) -> None:
    shutil.copytree(empty_label_studio, tmp_path / "ls")
    with LabelStudioServer(tmp_path / "ls", environment, stock=True) as server:
        own = Store.open(settings)
        save = ("guarded", server.url, server.token)
        own.database.write(lambda db: save_connection(db, *save))
        lines: list[str] = []
        with server.client() as client:
            info = client.create_project("guarded", TWO_CLASSES)
            project = connect(own, client, "guarded", info.id, settings.url, tell=lines.append)
            try:
                found = findings(settings)
            finally:
                disconnect(own, client, project)
                own.close()
        (line,) = [line for line in lines if line.startswith("outbound mode")]
        for switch in ("ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED"):
            assert switch in line
            check = found[f"label studio guarded {switch}"]
            assert (check.level, check.message[:2]) == (Level.OK, "on")
        name = f"project {info.id}"
        assert found[f"{name} connection"].message.startswith("outbound mode")
        for check in ("backend", "webhook", "model version"):
            assert found[f"{name} {check}"].level is Level.OK


def test_what_does_not_run_is_broken(settings: Settings, tmp_path: Path) -> None:
    elsewhere = own_settings(tmp_path / "other")
    Store.open(elsewhere, migrate=True).close()
    found = findings(elsewhere)
    assert found["database"].level is Level.OK
    for name in ("broker", "workers", "web", "inference"):
        assert found[name].level is Level.BROKEN
    assert found["label studio"].level is Level.WARNING
    old = Store.open(elsewhere)
    old.database.write(_forget_schema)
    old.close()
    assert findings(elsewhere)["database"].level is Level.BROKEN
    assert disk(elsewhere).level is not Level.BROKEN


def _forget_schema(db: Connection) -> None:
    db.execute(text("UPDATE alembic_version SET version_num = '0000'"))
