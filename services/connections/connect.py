"""Connecting a Label Studio project and disconnecting it again."""

import re
import time
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import Connection

from services.connections.clients import UnknownConnectionError
from services.connections.error_messages import ConnectingError, explained
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

__all__ = ["ConnectingError", "Found", "connect", "disconnect", "is_ours", "repair"]

log = structlog.get_logger()

OUR_VERSION = re.compile(r"apprentice v\d+")


@dataclass(frozen=True)
class Found:
    """What `connect` found, to be put back by `disconnect`."""

    sampling: str
    model_version: str
    by_hand: bool  # somebody had added our URL already


def is_ours(model_version: str) -> bool:
    """Whether it is the name of one of our versions."""
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
    """Register us in the project and begin to learn. Running it again changes nothing.

    Args:
        public_url: under which Label Studio reaches us.
        tell: is given a line for each change, and for what doesn't hinder but should be known.

    Raises:
        ConnectingError: why it failed, and what to do.
        UnknownConnectionError: there is no such connection.
    """
    connection = _connection(store, connection_id)
    url = backend_url(public_url, connection_id)
    tell = tell or _log
    try:
        before = studio.get_project(ls_project_id)
        project = _remember(store, connection_id, before)
        registration = Registration(studio, connection, project, store.settings, url, tell)
        known, others = registration.backends()
        backend = registration.ensure_backend(known)
        webhook = registration.ensure_webhook(backend)
        found = Found(**project.found) if project.found else _found(before, known)
        after = studio.get_project(ls_project_id)
        _settle_version(store, studio, project, after, backend, found.model_version, tell=tell)
        if after.sampling != UNCERTAINTY_SAMPLING:
            studio.patch_project(ls_project_id, sampling=UNCERTAINTY_SAMPLING)
            tell(f'sampling set to "{UNCERTAINTY_SAMPLING}" (was "{after.sampling}")')
    except StudioError as error:
        raise explained(error, connection, url, ls_project_id) from error
    _advise(after, others, tell)
    return store.database.write(lambda db: _note_connected(db, project, backend, webhook, found))


def repair(store: Store, studio: StudioClient, project: Project, public_url: str) -> None:
    """After somebody added our URL by hand: mend the webhook and the trap of the title.

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
        before = Found(**project.found).model_version if project.found else ""
        _settle_version(store, studio, project, info, backend, before, only_title=True, tell=_log)
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
    """Put back what `connect` found and leave. What was learned is kept for a later `connect`.

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
        _put_back(studio, project, info, backend, tell)
    except StudioNotFound:
        tell("Label Studio has no such project any more")
    except StudioError as error:
        store.database.write(lambda db: change_project(db, project.id, gone_at=project.gone_at))
        raise explained(error, connection, url, project.ls_id) from error
    store.database.write(lambda db: _note_disconnected(db, project))


def _connection(store: Store, connection_id: str) -> StudioConnection:
    with store.database.read() as db:
        connection = get_connection(db, connection_id)
    if connection is None:
        raise UnknownConnectionError(f"no connection {connection_id!r}")
    return connection


def _log(line: str) -> None:
    log.info("connecting", change=line)


def _found(before: ProjectInfo, known: BackendInfo | None) -> Found:
    # A version of ours, or the title of our row, came with us: nothing to be put back.
    came_with_us = is_ours(before.model_version) or (
        known is not None and before.model_version == known.title
    )
    model_version = "" if came_with_us else before.model_version
    return Found(before.sampling, model_version, by_hand=known is not None)


def _settle_version(
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
    """Undo that the backend's title became the model version: nothing pushed would be shown.

    Args:
        before: the model version to put back while we serve none.
        only_title: leave any other model version alone, also when we serve one.
    """
    with store.database.read() as db:
        served = get_version(db, project.served_version_id or 0)
    wanted, now = (served.name if served else before), info.model_version
    if now == wanted or not (now == backend.title or (served and not only_title)):
        return
    try:
        studio.patch_project(project.ls_id, model_version=wanted)
    except StudioRejected:  # Label Studio has no prediction of it any more
        if now != backend.title:
            return
        wanted = ""
        studio.patch_project(project.ls_id, model_version=wanted)
    tell(f'model version set to "{wanted}" (was "{now}")')


def _put_back(
    studio: StudioClient,
    project: Project,
    info: ProjectInfo,
    backend: BackendInfo | None,
    tell: Tell,
) -> None:
    found = Found(**project.found) if project.found else None
    if found and info.sampling == UNCERTAINTY_SAMPLING != found.sampling:
        studio.patch_project(project.ls_id, sampling=found.sampling)
        tell(f'sampling put back to "{found.sampling}"')
    titles = {TITLE, backend.title if backend else TITLE}
    if not is_ours(info.model_version) and info.model_version not in titles:
        return
    before = found.model_version if found else ""
    try:
        studio.patch_project(project.ls_id, model_version=before)
    except StudioRejected:  # it was deleted meanwhile
        before = ""
        studio.patch_project(project.ls_id, model_version=before)
    tell(f'model version put back to "{before}"')


def _advise(info: ProjectInfo, others: list[BackendInfo], tell: Tell) -> None:
    if not info.show_predictions:
        tell(
            "suggestions are switched off in this project: switch on Settings > Annotation > "
            '"Use predictions to prelabel tasks"'
        )
    if others:
        names = ", ".join(sorted(b.url for b in others))
        tell(f"the project has other backends too ({names}); Label Studio uses only the first")


def _remember(store: Store, connection_id: str, info: ProjectInfo) -> Project:
    created = int(info.created_at.timestamp())

    def save(db: Connection) -> Project:
        known = find_project(db, connection_id, info.id, created)
        if known is not None:
            change_project(db, known.id, gone_at=None)
        return save_project(
            db,
            connection_id,
            info.id,
            created,
            title=info.title,
            label_config=info.label_config,
        )

    return store.database.write(save)


def _note_connected(
    db: Connection,
    project: Project,
    backend: BackendInfo,
    webhook: WebhookInfo | None,
    found: Found,
) -> Project:
    change_project(
        db,
        project.id,
        connected_at=project.connected_at or time.time(),
        found=asdict(found),
        backend_id=backend.id,
        webhook_id=webhook.id if webhook else None,
    )
    pending_work.hurry(db, project.connection_id)
    for kind in (WorkKind.SYNC, WorkKind.EMBED, WorkKind.LEARN):
        pending_work.want(db, project.id, kind)
    saved = get_project(db, project.id)
    assert saved is not None
    return saved


def _pause(db: Connection, project: Project) -> None:
    """Have the sweeper leave the project alone; jobs under way lose their leases."""
    change_project(db, project.id, gone_at=time.time())
    for kind in WorkKind:
        pending_work.revoke(db, project.id, kind)


def _note_disconnected(db: Connection, project: Project) -> None:
    # Once more: while it removed the backend, Label Studio called /setup again.
    _pause(db, project)
    change_project(db, project.id, connected_at=None, found=None, backend_id=None, webhook_id=None)
