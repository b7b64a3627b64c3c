"""Connects Label Studio projects to Apprentice and disconnects them."""

import re
import time
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import Connection

from services.connections.clients import UnknownConnectionError
from services.connections.error_messages import ConnectingError, explain
from services.connections.registration import TITLE, Registration, Tell, backend_url
from store.projects.connections import StudioConnection, get_connection
from store.projects.projects import Project, change_project, find_project, get_project, save_project
from store.store import Store
from store.versions.versions import get_version
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.calls.projects import UNCERTAINTY_SAMPLING
from studio.client import StudioClient
from studio.errors import StudioError, StudioNotFound, StudioRejected
from studio.records.projects import ProjectInfo
from studio.records.registrations import BackendInfo, WebhookInfo

__all__ = [
    "ConnectingError",
    "OriginalSettings",
    "connect",
    "disconnect",
    "is_our_version",
    "repair",
]

log = structlog.get_logger()

OUR_VERSION = re.compile(r"apprentice v\d+")


@dataclass(frozen=True)
class OriginalSettings:
    """A project's settings before `connect` changed them, which `disconnect` restores."""

    sampling: str
    model_version: str
    by_hand: bool  # somebody had added our URL already


def is_our_version(model_version: str) -> bool:
    """Whether a model version of Label Studio is one that we published."""
    return OUR_VERSION.fullmatch(model_version) is not None


def connect(
    store: Store,
    studio: StudioClient,
    connection_id: str,
    ls_project_id: int,
    public_url: str,
    *,
    tell: Tell | None = None,
) -> Project:
    """Register Apprentice in a project and request its first jobs. Idempotent.

    Args:
        public_url: under which Label Studio reaches us.
        tell: called with a line for each change and each warning.

    Raises:
        ConnectingError: why it failed, and what to do.
        UnknownConnectionError: there is no such connection.
    """
    connection = _connection(store, connection_id)
    url = backend_url(public_url, connection_id)
    tell = tell or _log
    try:
        before = studio.get_project(ls_project_id)
        project = _save_project(store, connection_id, before)
        registration = Registration(studio, connection, project, store.settings, url, tell)
        our_backend, other_backends = registration.backends()
        backend = registration.ensure_backend(our_backend)
        webhook = registration.ensure_webhook(backend)
        original = (
            OriginalSettings(**project.found)
            if project.found
            else _original_settings(before, our_backend)
        )
        after = studio.get_project(ls_project_id)
        _reset_model_version(
            store, studio, project, after, backend, original.model_version, tell=tell
        )
        if after.sampling != UNCERTAINTY_SAMPLING:
            studio.patch_project(ls_project_id, sampling=UNCERTAINTY_SAMPLING)
            tell(f'sampling set to "{UNCERTAINTY_SAMPLING}" (was "{after.sampling}")')
    except StudioError as error:
        raise explain(error, connection, url, ls_project_id) from error
    _warn(after, other_backends, tell)
    return store.database.write(
        lambda db: _save_registration(db, project, backend, webhook, original)
    )


def repair(store: Store, studio: StudioClient, project: Project, public_url: str) -> None:
    """Repair the registration of a project whose admin added our URL by hand.

    It adds the webhook, and resets a model version that is our backend's title.
    Never adds a backend, and never changes what the admin chose: sampling, or a model version that
    is not the backend's title.

    Raises:
        StudioError: Label Studio did not do it.
    """
    connection = _connection(store, project.connection_id)
    url = backend_url(public_url, project.connection_id)
    registration = Registration(studio, connection, project, store.settings, url, _log)
    backend, others = registration.backends()
    if backend is None and len(others) == 1:
        # /setup was called for this project, so this is us, under a name that we didn't know.
        backend = others[0]
    webhook = None
    if backend is not None:
        webhook = registration.ensure_webhook(backend)
        info = studio.get_project(project.ls_id)
        before = OriginalSettings(**project.found).model_version if project.found else ""
        _reset_model_version(
            store, studio, project, info, backend, before, only_title=True, tell=_log
        )
    store.database.write(
        lambda db: change_project(
            db,
            project.id,
            backend_id=backend.id if backend else None,
            webhook_id=webhook.id if webhook else None,
        )
    )


def disconnect(
    store: Store, studio: StudioClient, project: Project, *, tell: Tell | None = None
) -> None:
    """Restore the project's original settings and remove our registration.

    What was learned is kept for a later `connect`.

    Raises:
        ConnectingError: why it failed, and what to do; the project is then still connected.
    """
    connection = _connection(store, project.connection_id)
    url = backend_url(store.settings.url, project.connection_id)
    tell = tell or _log
    store.database.write(lambda db: _pause(db, project))
    try:
        info = studio.get_project(project.ls_id)
        backend = Registration(studio, connection, project, store.settings, url, tell).remove()
        _restore_settings(studio, project, info, backend, tell)
    except StudioNotFound:
        tell("Label Studio has no such project any more")
    except StudioError as error:
        store.database.write(lambda db: change_project(db, project.id, gone_at=project.gone_at))
        raise explain(error, connection, url, project.ls_id) from error
    store.database.write(lambda db: _save_disconnected(db, project))


def _connection(store: Store, connection_id: str) -> StudioConnection:
    with store.database.read() as db:
        connection = get_connection(db, connection_id)
    if connection is None:
        raise UnknownConnectionError(f"no connection {connection_id!r}")
    return connection


def _log(line: str) -> None:
    log.info("connecting", change=line)


def _original_settings(info: ProjectInfo, our_backend: BackendInfo | None) -> OriginalSettings:
    # A version of ours, or our backend's title, was set by us: there is nothing to restore.
    set_by_us = is_our_version(info.model_version) or (
        our_backend is not None and info.model_version == our_backend.title
    )
    model_version = "" if set_by_us else info.model_version
    return OriginalSettings(info.sampling, model_version, by_hand=our_backend is not None)


def _reset_model_version(
    store: Store,
    studio: StudioClient,
    project: Project,
    info: ProjectInfo,
    backend: BackendInfo,
    before: str,
    *,
    only_title: bool = False,
    tell: Tell,
) -> None:
    """Replace the backend's title as model version: no pushed prediction would be shown.

    Args:
        before: the model version to put back while we serve none.
        only_title: leave any other model version alone, also when we serve one.
    """
    with store.database.read() as db:
        served = get_version(db, project.served_version_id or 0)
    wanted, current = (served.name if served else before), info.model_version
    if current == wanted or not (current == backend.title or (served and not only_title)):
        return
    try:
        studio.patch_project(project.ls_id, model_version=wanted)
    except StudioRejected:  # Label Studio has no prediction of it any more
        if current != backend.title:
            return
        wanted = ""
        studio.patch_project(project.ls_id, model_version=wanted)
    tell(f'model version set to "{wanted}" (was "{current}")')


def _restore_settings(
    studio: StudioClient,
    project: Project,
    info: ProjectInfo,
    backend: BackendInfo | None,
    tell: Tell,
) -> None:
    original = OriginalSettings(**project.found) if project.found else None
    if original and info.sampling == UNCERTAINTY_SAMPLING != original.sampling:
        studio.patch_project(project.ls_id, sampling=original.sampling)
        tell(f'sampling put back to "{original.sampling}"')
    titles = {TITLE, backend.title if backend else TITLE}
    if not is_our_version(info.model_version) and info.model_version not in titles:
        return
    before = original.model_version if original else ""
    try:
        studio.patch_project(project.ls_id, model_version=before)
    except StudioRejected:  # it was deleted meanwhile
        before = ""
        studio.patch_project(project.ls_id, model_version=before)
    tell(f'model version put back to "{before}"')


def _warn(info: ProjectInfo, other_backends: list[BackendInfo], tell: Tell) -> None:
    if not info.show_predictions:
        tell(
            "suggestions are switched off in this project: switch on Settings > Annotation > "
            '"Use predictions to prelabel tasks"'
        )
    if other_backends:
        names = ", ".join(sorted(other.url for other in other_backends))
        tell(f"the project has other backends too ({names}); Label Studio uses only the first")


def _save_project(store: Store, connection_id: str, info: ProjectInfo) -> Project:
    created = int(info.created_at.timestamp())

    def save(db: Connection) -> Project:
        existing = find_project(db, connection_id, info.id, created)
        if existing is not None:
            change_project(db, existing.id, gone_at=None)
        return save_project(
            db,
            connection_id,
            info.id,
            created,
            title=info.title,
            label_config=info.label_config,
        )

    return store.database.write(save)


def _save_registration(
    db: Connection,
    project: Project,
    backend: BackendInfo,
    webhook: WebhookInfo | None,
    original: OriginalSettings,
) -> Project:
    change_project(
        db,
        project.id,
        connected_at=project.connected_at or time.time(),
        found=asdict(original),
        backend_id=backend.id,
        webhook_id=webhook.id if webhook else None,
    )
    pending_work.retry_now(db, project.connection_id)
    for kind in (WorkKind.SYNC, WorkKind.EMBED, WorkKind.LEARN):
        pending_work.want(db, project.id, kind)
    saved = get_project(db, project.id)
    assert saved is not None
    return saved


def _pause(db: Connection, project: Project) -> None:
    """Make the scheduler skip the project, and revoke the leases of its running jobs."""
    change_project(db, project.id, gone_at=time.time())
    for kind in WorkKind:
        pending_work.revoke(db, project.id, kind)


def _save_disconnected(db: Connection, project: Project) -> None:
    # Once more: while it removed the backend, Label Studio called /setup again.
    _pause(db, project)
    change_project(db, project.id, connected_at=None, found=None, backend_id=None, webhook_id=None)
