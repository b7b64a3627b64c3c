"""What connecting a project changes, here and in Label Studio."""

from typing import Any

from store.projects.connections import DEFAULT
from store.projects.projects import (
    Project,
    find_project,
)
from store.store import Store
from store.work.pending_work import get_work
from studio.client import StudioClient
from studio.http import StudioHttp
from studio.records.projects import ProjectInfo
from studio.records.registrations import BackendInfo, WebhookInfo


class RecordingHttp(StudioHttp):
    """Real calls, and a list of those that could change something."""

    changes: list[str]

    def call(self, method: str, path: str, **options: Any) -> Any:
        if method != "GET":
            self.changes.append(f"{method} {path}")
        return super().call(method, path, **options)


def changes(client: StudioClient) -> list[str]:
    assert isinstance(client.http, RecordingHttp)
    made, client.http.changes = client.http.changes, []
    return made


def standing(
    client: StudioClient, project: int
) -> tuple[ProjectInfo, list[BackendInfo], list[WebhookInfo]]:
    """All that connecting can change in Label Studio."""
    return client.get_project(project), client.backends(project), client.webhooks(project)


def wanted(store: Store, project: Project) -> set[str]:
    with store.database.read() as db:
        works = {kind: get_work(db, project.id, kind) for kind in ("sync", "embed", "learn")}
    return {kind for kind, item in works.items() if item is not None}


def registered(store: Store, info: ProjectInfo) -> Project:
    """The project as /setup has registered it."""
    with store.database.read() as db:
        project = find_project(db, DEFAULT, info.id)
    assert project is not None, "Label Studio called /setup"
    return project
