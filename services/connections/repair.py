"""Repairs a project's registration in Label Studio, and checks again what Label Studio reaches."""

import time
from dataclasses import replace
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection

from services.connections.clients import known_connection
from services.connections.original_settings import OriginalSettings, reset_model_version
from services.connections.probe import send_probe
from services.connections.reach import (
    HEARD,
    NOT_ARRIVED,
    REACH,
    RECHECK,
    Connectivity,
    Reach,
    connectivity,
    recheck_is_due,
)
from services.connections.registration import Registration, backend_url
from store.projects.key_values import CALLED_AS, REPAIR
from store.projects.projects import Project, change_project
from store.store import Store
from studio.client import StudioClient
from studio.errors import StudioNotFound, StudioRejected
from studio.records.registrations import BackendInfo, WebhookInfo

log = structlog.get_logger()

REMOVED = "the backend was removed in Label Studio (`apprentice connect` adds it again)"
UNREACHABLE = "it does not reach the backend {url} (is `apprentice up` running?)"
PASSWORD = "the backend has other credentials in Label Studio (run `apprentice connect` again)"  # noqa: S105


def repair(store: Store, studio: StudioClient, project: Project, public_url: str) -> None:
    """Repair the registration of a project, also where an admin added our URL by hand.

    It adds the webhook, and resets a model version that is our backend's title. It adds a backend
    only where `connect` could not, and never changes what the admin chose: sampling, or a model
    version that is not the backend's title.

    Raises:
        StudioError: Label Studio did not do it.
    """
    connection = known_connection(store, project.connection_id)
    url = backend_url(public_url, project.connection_id)
    registration = Registration(studio, connection, project, store.settings, url, _log)
    now = time.time()
    with store.database.read() as db:
        called_as = CALLED_AS.of(project.id).get(db)
        is_asked = RECHECK.of(project.id).get(db) is not None
        before = REACH.of(project.id).get(db) or Reach()
        found = connectivity(before, HEARD.of(project.id).get(db), now)
    is_check = not before.checked_at or is_asked or recheck_is_due(before, found, now)
    try:
        backend, no_backend = _backend(registration, before, called_as, is_check=is_check)
        reach = replace(before, backend=no_backend)
        webhook, reach = _webhook(store, registration, backend, reach, found, is_check=is_check)
    except (StudioRejected, StudioNotFound) as error:  # this token may not see registrations
        backend, webhook = None, None
        reach = replace(before, backend=str(error), webhook=str(error))
    if is_check:
        rechecks = before.rechecks + 1 if before.checked_at and not is_asked else 0
        reach = replace(reach, checked_at=now, rechecks=rechecks)
    if backend is not None:
        info = studio.get_project(project.ls_id)
        original = OriginalSettings(**project.found).model_version if project.found else ""
        reset_model_version(
            store, studio, project, info, [backend.title], original, only_title=True, tell=_log
        )

    def write(db: Connection) -> None:
        change_project(
            db,
            project.id,
            backend_id=backend.id if backend else None,
            webhook_id=webhook.id if webhook else None,
        )
        REACH.of(project.id).set(db, reach)
        REPAIR.of(project.id).delete(db)
        RECHECK.of(project.id).delete(db)

    store.database.write(write)


def _log(line: str) -> None:
    log.info("connecting", change=line)


def _has_host(url: str, authority: str) -> bool:
    """Whether the URL has that host and port; a default port counts as none."""
    plain = urlsplit(url).netloc.lower().removesuffix(":80").removesuffix(":443")
    return plain == authority.lower().removesuffix(":80").removesuffix(":443")


def _backend(
    registration: Registration, before: Reach, called_as: str | None, *, is_check: bool
) -> tuple[BackendInfo | None, str | None]:
    """Our backend, and why Label Studio doesn't reach it."""
    backend, others = registration.backends()
    if backend is None and called_as and len(others) == 1 and _has_host(others[0].url, called_as):
        # /setup was called for this project by that name, so this is us. By its name alone: a
        # webhook to a backend of somebody else would tell it our secret.
        return others[0], None
    if backend is not None:
        return backend, None if backend.is_connected else UNREACHABLE.format(url=backend.url)
    if before.backend in (None, REMOVED) or registration.project.connected_at is None:
        return None, REMOVED
    if not is_check:
        return None, before.backend
    try:
        return registration.try_backend(None)
    except StudioRejected:
        return None, PASSWORD


def _webhook(
    store: Store,
    registration: Registration,
    backend: BackendInfo | None,
    reach: Reach,
    found: Connectivity,
    *,
    is_check: bool,
) -> tuple[WebhookInfo | None, Reach]:
    """Our webhook, and the reach with the test event that is to prove it."""
    address = backend.url if backend else registration.url
    is_lost = reach.webhook is None and found.webhook is not None  # the test event
    if is_lost and registration.has_current_webhook(address):
        registration.remove_webhooks(address, NOT_ARRIVED)
        return None, replace(reach, webhook=NOT_ARRIVED)
    if reach.webhook is not None and not is_check:
        return None, reach
    if backend is None and reach.backend == REMOVED:
        ours = registration.webhooks(address)
        return (ours[0], reach) if ours else (None, replace(reach, webhook=REMOVED))
    webhook, refusal = registration.try_webhook(address)
    reach = replace(reach, webhook=refusal)
    project = registration.project
    if webhook is not None and not (found.is_proven and webhook.id == project.webhook_id):
        reach = send_probe(store, registration.studio, project, reach)
    return webhook, reach
