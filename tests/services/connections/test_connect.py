"""Connecting projects of the real Label Studio, with the real web process behind the URL."""

from typing import Any

import pytest

from services.connections.connect import ConnectingError, connect, disconnect
from services.connections.registration import (
    ACTIONS,
    SECRET_HEADER,
    webhook_is_current,
    webhook_url,
)
from services.connections.repair import repair
from store.projects.connections import DEFAULT, get_connection, save_connection
from store.projects.projects import (
    Project,
    change_project,
    get_project,
    list_projects,
)
from store.settings import Settings
from store.store import Store
from store.versions.versions import SERVED
from studio.client import StudioClient
from studio.records.annotations import NewPrediction
from studio.records.projects import ProjectInfo
from studio.regions import StudioRegion
from tests.support.connecting import changes, registered, standing, wanted
from tests.support.versions import plain_version

pytestmark = pytest.mark.e2e


def secret(store: Store) -> str:
    with store.database.read() as db:
        connection = get_connection(db, DEFAULT)
    assert connection is not None
    return connection.secret


def push(client: StudioClient, project: int, version: str) -> None:
    """A prediction, without which Label Studio doesn't take a model version."""
    client.import_tasks(project, [{"image": "http://localhost/none.jpg"}])
    task = next(client.task_ids(project))
    cat = StudioRegion.new(
        from_name="kind", to_name="image", kind="choices", value={"choices": ["cat"]}
    )
    assert client.import_predictions(project, [NewPrediction(task, (cat,), 0.5, version)]) == 1


def serve_version(store: Store, project: Project) -> str:
    """Have the store serve a version; its name."""

    def write(db: Any) -> str:
        version = plain_version(db, project.id, status=SERVED, embedding_space="test", labels=1)
        change_project(db, project.id, served_version_id=version.id)
        return version.name

    return store.database.write(write)


def test_a_sampling_that_another_save_puts_back_is_set_again(
    store: Store,
    admin: StudioClient,
    studio_project: ProjectInfo,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patch, lost = admin.patch_project, []

    def patch_and_lose(project: int, **fields: Any) -> ProjectInfo:
        info = patch(project, **fields)
        if "sampling" in fields and not lost:  # Label Studio was just saving another field
            lost.append(fields)
            info = patch(project, sampling=studio_project.sampling)
        return info

    monkeypatch.setattr(admin, "patch_project", patch_and_lose)
    connect(store, admin, DEFAULT, studio_project.id, settings.url)
    assert lost
    assert admin.get_project(studio_project.id).sampling == "Uncertainty sampling"


def test_connect_registers_everything_and_wants_work(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    info, (backend,), (webhook,) = standing(admin, studio_project.id)
    assert backend.url == settings.url
    assert backend.title == "Apprentice"
    assert backend.state == "CO"
    assert not backend.is_interactive
    assert webhook.url == f"{settings.url}/webhook"
    assert webhook.actions == ACTIONS
    assert webhook.headers == {SECRET_HEADER: secret(store)}
    assert webhook.is_active
    assert webhook.send_payload
    assert info.sampling == "Uncertainty sampling"
    assert info.model_version == ""
    assert (project.backend_id, project.webhook_id) == (backend.id, webhook.id)
    assert project.connected_at is not None
    assert project.title == studio_project.title
    assert wanted(store, project) == {"sync", "embed", "learn"}


def test_connecting_again_changes_nothing(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    first = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    before = standing(admin, studio_project.id)
    changes(admin)
    again = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    assert changes(admin) == []
    assert standing(admin, studio_project.id) == before
    assert (again.connected_at, again.found) == (first.connected_at, first.found)


def test_disconnect_puts_back_what_connect_found(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    push(admin, studio_project.id, "their model 3")
    admin.patch_project(
        studio_project.id, model_version="their model 3", sampling="Uniform sampling"
    )
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    info = admin.get_project(studio_project.id)
    assert info.model_version == "their model 3"
    assert info.sampling == "Uncertainty sampling"
    push(admin, studio_project.id, serve_version(store, project))
    admin.patch_project(studio_project.id, model_version="apprentice v1")
    with store.database.read() as db:
        project = get_project(db, project.id) or project
    disconnect(store, admin, project)
    info, backends, webhooks = standing(admin, studio_project.id)
    assert backends == []
    assert webhooks == []
    assert info.model_version == "their model 3"
    assert info.sampling == "Uniform sampling"


def test_a_disconnected_project_rests_and_goes_on_when_connected_again(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    disconnect(store, admin, project)
    with store.database.read() as db:
        assert project.id not in {listed.id for listed in list_projects(db)}
        resting = get_project(db, project.id)
    assert resting is not None
    assert (resting.connected_at, resting.found, resting.backend_id) == (None, None, None)
    again = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    assert again.id == project.id
    assert again.gone_at is None
    _, backends, webhooks = standing(admin, studio_project.id)
    assert (len(backends), len(webhooks)) == (1, 1)


def test_what_the_admin_changed_since_is_left_alone_by_disconnect(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    push(admin, studio_project.id, "a newer model")
    admin.patch_project(
        studio_project.id, model_version="a newer model", sampling="Uniform sampling"
    )
    disconnect(store, admin, project)
    info = admin.get_project(studio_project.id)
    assert (info.model_version, info.sampling) == ("a newer model", "Uniform sampling")


def test_a_served_version_is_shown_again_after_the_title_took_its_place(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    push(admin, studio_project.id, serve_version(store, project))
    admin.patch_project(studio_project.id, model_version="Apprentice")
    connect(store, admin, DEFAULT, studio_project.id, settings.url)
    assert admin.get_project(studio_project.id).model_version == "apprentice v1"


def test_a_pasted_url_is_repaired_and_the_admin_is_not_fought(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    other_name = settings.url.replace("localhost", "127.0.0.1")
    backend = admin.create_backend(studio_project.id, other_name, "Our helper")
    project = registered(store, studio_project)
    repair(store, admin, project, settings.url)
    info, backends, (webhook,) = standing(admin, studio_project.id)
    assert [b.id for b in backends] == [backend.id]
    assert backends[0].title == "Our helper"
    assert webhook_is_current(webhook, webhook_url(other_name), secret(store))
    assert info.model_version == ""
    assert info.sampling == studio_project.sampling
    push(admin, studio_project.id, "their choice")
    admin.patch_project(studio_project.id, model_version="their choice")
    changes(admin)
    repair(store, admin, registered(store, studio_project), settings.url)
    assert changes(admin) == []


def test_connect_adopts_a_pasted_url_and_disconnect_removes_it(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    backend = admin.create_backend(studio_project.id, settings.url, "Our helper")
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    info, (adopted,), webhooks = standing(admin, studio_project.id)
    assert adopted.id == backend.id
    assert len(webhooks) == 1
    assert info.model_version == ""
    disconnect(store, admin, project)
    info, backends, webhooks = standing(admin, studio_project.id)
    assert (info.model_version, backends, webhooks) == ("", [], [])


def test_a_second_webhook_is_removed_and_a_wrong_one_mended(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url)
    url = f"{settings.url}/webhook"
    assert project.webhook_id is not None
    admin.patch_webhook(project.webhook_id, url, actions=["TASKS_CREATED"], headers={})
    admin.create_webhook(studio_project.id, url, actions=["TASKS_CREATED"], headers={})
    connect(store, admin, DEFAULT, studio_project.id, settings.url)
    (webhook,) = admin.webhooks(studio_project.id)
    assert webhook.id == project.webhook_id
    assert webhook_is_current(webhook, url, secret(store))


def test_a_named_connection_has_a_url_of_its_own(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    store.database.write(lambda db: save_connection(db, "lab", admin.url, secret_token(store)))
    project = connect(store, admin, "lab", studio_project.id, settings.url)
    _, (backend,), (webhook,) = standing(admin, studio_project.id)
    assert backend.url == f"{settings.url}/c/lab"
    assert backend.state == "CO"
    assert webhook.url == f"{settings.url}/c/lab/webhook"
    assert project.connection_id == "lab"


def test_another_backend_of_the_project_is_told_and_stays(
    store: Store, admin: StudioClient, studio_project: ProjectInfo, settings: Settings
) -> None:
    store.database.write(lambda db: save_connection(db, "lab", admin.url, secret_token(store)))
    connect(store, admin, "lab", studio_project.id, settings.url)
    lines: list[str] = []
    project = connect(store, admin, DEFAULT, studio_project.id, settings.url, tell=lines.append)
    assert any("other backends" in line and "/c/lab" in line for line in lines)
    disconnect(store, admin, project)
    _, (backend,), (webhook,) = standing(admin, studio_project.id)
    assert backend.url == f"{settings.url}/c/lab"
    assert webhook.url == f"{settings.url}/c/lab/webhook"


def test_an_unknown_project_is_named(store: Store, admin: StudioClient, settings: Settings) -> None:
    with pytest.raises(ConnectingError, match="no project 99999"):
        connect(store, admin, DEFAULT, 99999, settings.url)


def secret_token(store: Store) -> str:
    with store.database.read() as db:
        connection = get_connection(db, DEFAULT)
    assert connection is not None
    return connection.token
