"""Connects Label Studio projects to Apprentice and disconnects them."""

import time
from dataclasses import asdict, replace

import structlog
from sqlalchemy import Connection

from services.connections.aliases import AliasFinder
from services.connections.clients import known_connection
from services.connections.error_messages import ConnectingError, explain
from services.connections.original_settings import (
    OriginalSettings,
    original_settings,
    reset_model_version,
    restore_settings,
)
from services.connections.probe import await_probe, is_fresh, send_probe
from services.connections.reach import NOT_ARRIVED, REACH, SETTLED, Mode, Reach, connectivity
from services.connections.registration import TITLE, Registration, Tell, backend_url
from store.projects.projects import Project, change_project, find_project, get_project, save_project
from store.store import Store
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.calls.projects import UNCERTAINTY_SAMPLING
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.errors import StudioError, StudioNotFound, StudioRejected
from studio.records.projects import ProjectInfo
from studio.records.registrations import BackendInfo, WebhookInfo

__all__ = ["ConnectingError", "connect", "disconnect"]

log = structlog.get_logger()

SAMPLE = 20  # tasks that are looked at for other addresses of Label Studio
SAMPLING_TRIES = 3


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
    connection = known_connection(store, connection_id)
    url = backend_url(public_url, connection_id)
    tell = tell or _log
    try:
        before = studio.get_project(ls_project_id)
        project = _save_project(store, connection_id, before)
        registration = Registration(studio, connection, project, store.settings, url, tell)
        our_backend, other_backends = _backends(registration)
        backend, no_backend = registration.try_backend(our_backend)
        address = backend.url if backend else url
        webhook, no_webhook = registration.try_webhook(address)
        original = (
            OriginalSettings(**project.found)
            if project.found
            else original_settings(before, our_backend)
        )
        after = studio.get_project(ls_project_id)
        titles = [backend.title] if backend else [TITLE, *(b.title for b in other_backends)]
        reset_model_version(
            store, studio, project, after, titles, original.model_version, tell=tell
        )
        if after.sampling != UNCERTAINTY_SAMPLING:
            studio.patch_project(ls_project_id, sampling=UNCERTAINTY_SAMPLING)
            tell(f'sampling set to "{UNCERTAINTY_SAMPLING}" (was "{after.sampling}")')
        rechecks = 0 if no_backend is None else SETTLED
        reach = Reach(no_backend, no_webhook, checked_at=time.time(), rechecks=rechecks)
        if webhook is not None:
            reach = _prove_webhook(store, registration, project, address, reach)
        _keep_sampling(studio, ls_project_id)
        _find_aliases(store, studio, project, tell)
    except StudioError as error:
        raise explain(error, connection, url, ls_project_id) from error
    if reach.webhook is not None:
        webhook = None
    found = connectivity(reach, None, reach.checked_at)
    if found.mode is not Mode.INBOUND:
        tell(found.sentence)
    _warn(after, other_backends, tell)
    return store.database.write(
        lambda db: _save_registration(db, project, backend, webhook, original, reach)
    )


def disconnect(
    store: Store, studio: StudioClient, project: Project, *, tell: Tell | None = None
) -> None:
    """Restore the project's original settings and remove our registration.

    What was learned is kept for a later `connect`.

    Raises:
        ConnectingError: why it failed, and what to do; the project is then still connected.
    """
    connection = known_connection(store, project.connection_id)
    url = backend_url(store.settings.url, project.connection_id)
    tell = tell or _log
    store.database.write(lambda db: _pause(db, project))
    try:
        info = studio.get_project(project.ls_id)
        backend = Registration(studio, connection, project, store.settings, url, tell).remove()
        restore_settings(studio, project, info, backend, tell)
    except StudioNotFound:
        tell("Label Studio has no such project any more")
    except StudioError as error:
        store.database.write(lambda db: change_project(db, project.id, gone_at=project.gone_at))
        raise explain(error, connection, url, project.ls_id) from error
    store.database.write(lambda db: _save_disconnected(db, project))


def _keep_sampling(studio: StudioClient, ls_project_id: int) -> None:
    """Set the sampling again if it was lost.

    Label Studio saves projects whole, so that a change of another field which it is just making,
    such as the version of our first publication, puts the old sampling back.
    """
    for _ in range(SAMPLING_TRIES):
        if studio.get_project(ls_project_id).sampling == UNCERTAINTY_SAMPLING:
            return
        studio.patch_project(ls_project_id, sampling=UNCERTAINTY_SAMPLING)


def _backends(registration: Registration) -> tuple[BackendInfo | None, list[BackendInfo]]:
    try:
        return registration.backends()
    except (StudioRejected, StudioNotFound):  # this token may not see them
        return None, []


def _find_aliases(store: Store, studio: StudioClient, project: Project, tell: Tell) -> None:
    config = parse_label_config(project.label_config)
    tasks = studio.first_tasks(project.ls_id, SAMPLE)
    images = [(task.id, uri) for task in tasks for uri in config.images(task.data) if uri]
    finder = AliasFinder(store, studio, project.connection_id, again=True)
    for alias in finder.look(images):
        tell(f"its tasks name it {alias}; their images are read from {studio.url}")


def _prove_webhook(
    store: Store, registration: Registration, project: Project, address: str, reach: Reach
) -> Reach:
    """The reach with the proof that events arrive; where none does, the webhook is removed."""
    with store.database.read() as db:
        before = REACH.of(project.id).get(db)
    if before is not None and is_fresh(store, project.id, before):
        return replace(reach, probe_at=before.probe_at, probe_heard=before.probe_heard)
    reach = send_probe(store, registration.studio, project, reach)
    if await_probe(store, project.id, reach).is_proven:
        return reach
    registration.remove_webhooks(address, NOT_ARRIVED)
    return replace(reach, webhook=NOT_ARRIVED)


def _log(line: str) -> None:
    log.info("connecting", change=line)


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
    backend: BackendInfo | None,
    webhook: WebhookInfo | None,
    original: OriginalSettings,
    reach: Reach,
) -> Project:
    change_project(
        db,
        project.id,
        connected_at=project.connected_at or time.time(),
        found=asdict(original),
        backend_id=backend.id if backend else None,
        webhook_id=webhook.id if webhook else None,
    )
    REACH.of(project.id).set(db, reach)
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
    REACH.of(project.id).delete(db)
