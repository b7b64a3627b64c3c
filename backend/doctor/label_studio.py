"""Checks of a Label Studio server: token, settings, and the registration of each project."""

import time
from collections.abc import Iterator

from backend.doctor.checks import Check, broken, ok, warning
from backend.views.connectivity import connectivity_status
from services.connections.error_messages import BACKEND_SWITCH, WEBHOOK_SWITCH, unauthorized
from services.connections.registration import (
    SECRET_HEADER,
    Registration,
    backend_url,
    same_url,
    webhook_is_current,
    webhook_url,
)
from store.projects.connections import StudioConnection
from store.projects.projects import Project
from store.store import Store
from store.versions.versions import get_version
from store.work.pending_work import BACKOFF_SECONDS, get_work
from studio.calls.projects import UNCERTAINTY_SAMPLING
from studio.client import StudioClient
from studio.errors import Refusal, StudioError, StudioNotFound, StudioUnauthorized
from studio.records.projects import ProjectInfo
from studio.records.registrations import BackendInfo, WebhookInfo
from worker.queues.enqueue import QUEUES

OPTIONAL = "switched off in Label Studio, it tells changes a second sooner"
FAILURES = 3  # in a row: no passing fault any more
LATE = 3  # reconcile intervals after which a reconcile is missed


def examine_studio(
    store: Store, connection: StudioConnection, projects: list[Project]
) -> Iterator[Check]:
    """Check the connection and its connected projects."""
    name = f"label studio {connection.id}"
    try:
        studio = StudioClient(connection.url, connection.token)
    except ValueError as error:
        yield broken(name, str(error), "mend LABEL_STUDIO_URL or LABEL_STUDIO_API_KEY")
        return
    with studio:
        try:
            version = studio.version()
            yield ok(name, f"{connection.url} answers, version {version or 'unknown'}")
            user = studio.whoami()
        except StudioUnauthorized as error:
            yield broken(f"{name} token", unauthorized(error, connection), "set a token that works")
            return
        except StudioError as error:
            yield broken(name, str(error), "start it, or mend LABEL_STUDIO_URL")
            return
        yield ok(f"{name} token", f"accepted, of {user.email}")
        if connection.aliases:
            names = " and ".join(connection.aliases)
            yield ok(f"{name} addresses", f"tasks name it {names}; read from {connection.url}")
        url = backend_url(store.settings.url, connection.id)
        yield backend_switch(studio, name, url)
        yield webhook_switch(studio, name, webhook_url(url))
        if not projects:
            yield warning(name, "no project is connected", "run `apprentice connect --project ID`")
        for project in projects:
            yield from _guarded(store, studio, connection, project)
        yield from orphans(studio, name, url, projects)


def backend_switch(studio: StudioClient, name: str, url: str) -> Check:
    """Check ML_BLOCK_LOCAL_IP: whether Label Studio accepts the backend's URL."""
    name = f"{name} {BACKEND_SWITCH}"
    refusal = studio.backend_refusal(url)
    if refusal is Refusal.PRIVATE_ADDRESS:
        return ok(name, f"on: {url} is refused as a private address, and not needed ({OPTIONAL})")
    if refusal is Refusal.UNRESOLVED_HOST:
        advice = "set APPRENTICE_PUBLIC_URL to an address that Label Studio's machine knows"
        return warning(name, f"Label Studio can't resolve the host of {url}", advice)
    return ok(name, f"{url} is accepted")


def webhook_switch(studio: StudioClient, name: str, url: str) -> Check:
    """Check SSRF_PROTECTION_ENABLED: whether Label Studio accepts our webhook's URL."""
    name = f"{name} {WEBHOOK_SWITCH}"
    refusal = studio.webhook_refusal(url)
    if refusal is Refusal.PRIVATE_ADDRESS:
        return ok(name, f"on: webhooks to {url} are refused, and not needed ({OPTIONAL})")
    if refusal in (Refusal.INVALID_URL, Refusal.UNRESOLVED_HOST):
        advice = "set APPRENTICE_PUBLIC_URL to a host with a dot that it knows, or localhost"
        return warning(name, f"Label Studio takes no webhook to {url}", advice)
    return ok(name, f"webhooks to {url} are accepted")


def _guarded(
    store: Store, studio: StudioClient, connection: StudioConnection, project: Project
) -> Iterator[Check]:
    name = f"project {project.ls_id}"
    try:
        yield from examine_project(store, studio, connection, project, name)
    except StudioNotFound:
        message = f'"{project.title}" is no longer in Label Studio, or the token may not see it'
        yield warning(name, message)
    except StudioError as error:
        yield broken(name, str(error), "run the doctor again when Label Studio answers")


def examine_project(
    store: Store, studio: StudioClient, connection: StudioConnection, project: Project, name: str
) -> Iterator[Check]:
    """Check a project: our ML backend, our webhook, and the settings that suggestions need."""
    info = studio.get_project(project.ls_id)
    url = backend_url(store.settings.url, connection.id)
    registration = Registration(studio, connection, project, store.settings, url, lambda line: None)
    with store.database.read() as db:
        reach = connectivity_status(db, project.id)
    if reach is not None:
        yield ok(f"{name} connection", reach.in_words)
    backend, others = registration.backends()
    if backend is None and reach is not None and reach.backend is not None:
        yield ok(f"{name} backend", f"Label Studio does not call it: {reach.backend}")
    else:
        yield _backend(name, url, project, backend, others)
    webhooks = registration.webhooks(backend.url if backend else url)
    if not webhooks and reach is not None and reach.webhook is not None:
        yield ok(f"{name} webhook", f"Apprentice looks for changes itself: {reach.webhook}")
    else:
        yield _webhook(name, connection, project, webhooks, backend.url if backend else url)
    yield _sampling(name, info)
    yield _model_version(store, name, project, info, backend)
    if not info.show_predictions:
        advice = 'switch on Settings > Annotation > "Use predictions to prelabel tasks"'
        yield warning(name, "annotators are shown no predictions", advice)
    if project.reason:
        yield warning(name, project.reason)
    yield _reconciled(store, name, project)
    yield from _failing(store, name, project)


def _connect_again(project: Project) -> str:
    return f"run `apprentice connect --project {project.ls_id}`"


def _backend(
    name: str, url: str, project: Project, backend: BackendInfo | None, others: list[BackendInfo]
) -> Check:
    name = f"{name} backend"
    if backend is None:
        return broken(name, f"{url} is not registered", _connect_again(project))
    if not backend.is_connected:
        why = f": {backend.error}" if backend.error else ""
        advice = "is Apprentice running, and is this its address as Label Studio's machine sees it?"
        return broken(name, f"Label Studio can't reach {backend.url}{why}", advice)
    if any(other.id < backend.id for other in others):
        first = min(others, key=lambda other: other.id)
        advice = "remove the others in Settings > Model"
        return warning(name, f"{first.url} comes first, and Label Studio uses only that", advice)
    return ok(name, f"Label Studio reaches {backend.url}")


def _webhook(
    name: str,
    connection: StudioConnection,
    project: Project,
    webhooks: list[WebhookInfo],
    backend: str,
) -> Check:
    name = f"{name} webhook"
    url = webhook_url(backend)
    if not webhooks:
        return broken(name, f"there is none to {url}", _connect_again(project))
    first = webhooks[0]
    if not webhook_is_current(first, url, connection.secret):
        return broken(name, _what_is_wrong(first, url, connection.secret), _connect_again(project))
    if len(webhooks) > 1:
        return warning(name, f"{len(webhooks)} webhooks to {url}", _connect_again(project))
    return ok(name, f"{url}, active, with our secret")


def _what_is_wrong(webhook: WebhookInfo, url: str, secret: str) -> str:
    if not webhook.is_active:
        return "it is switched off"
    if not same_url(webhook.url, url):
        return f"it goes to {webhook.url}, not to {url}"
    if webhook.headers.get(SECRET_HEADER) != secret:
        return "its secret is missing or not ours: its events are refused"
    return "it doesn't send what we need (actions, payload)"


def _sampling(name: str, info: ProjectInfo) -> Check:
    name = f"{name} sampling"
    if info.sampling == UNCERTAINTY_SAMPLING:
        return ok(name, info.sampling)
    advice = "choose it in Settings > General > Task Sampling for the most useful tasks first"
    return warning(name, f'"{info.sampling}", not "{UNCERTAINTY_SAMPLING}"', advice)


def _model_version(
    store: Store, name: str, project: Project, info: ProjectInfo, backend: BackendInfo | None
) -> Check:
    name = f"{name} model version"
    with store.database.read() as db:
        served = get_version(db, project.served_version_id or 0)
    now = info.model_version
    if backend is not None and now == backend.title:
        message = f'it is the backend\'s title "{now}": nothing that we push is shown'
        return broken(name, message, _connect_again(project))
    if served is None:
        return ok(name, "nothing is served yet")
    if now != served.name:
        message = f'Label Studio shows "{now}", we serve "{served.name}"'
        return warning(name, message, f"unless you chose that: {_connect_again(project)}")
    return ok(name, f'"{now}" is served and shown')


def _reconciled(store: Store, name: str, project: Project) -> Check:
    name = f"{name} reconcile"
    if project.reconciled_at is None:
        return warning(name, "has not happened yet", "wait a moment; are the workers alive?")
    age = time.time() - project.reconciled_at
    if age > LATE * store.settings.reconcile_seconds + 60:
        return broken(
            name, f"last one {age:.0f} s ago", "are the web process and worker sync alive?"
        )
    return ok(name, f"last one {age:.0f} s ago")


def _failing(store: Store, name: str, project: Project) -> Iterator[Check]:
    """Check for work that failed repeatedly."""
    with store.database.read() as db:
        works = [get_work(db, project.id, queue) for queue in QUEUES]
    for work in works:
        if work is not None and work.wanted > work.done and work.failures >= FAILURES:
            message = f"failed {work.failures} times: {work.error}"
            advice = f"the worker's log says more; the next try is within {BACKOFF_SECONDS[-1]} s"
            yield broken(f"{name} {work.kind}", message, advice)


def orphans(studio: StudioClient, name: str, url: str, projects: list[Project]) -> Iterator[Check]:
    """Check for webhooks to us of projects that are not connected: they slow annotators down."""
    name = f"{name} orphan webhooks"
    connected = {project.ls_id for project in projects}
    try:
        listed = studio.webhooks()
    except StudioError as error:
        yield warning(name, f"can't be listed: {error}")
        return
    lost = [w for w in listed if same_url(w.url, webhook_url(url)) and w.project not in connected]
    if not lost:
        yield ok(name, "none")
    for webhook in lost:
        where = "the organization" if webhook.project is None else f"project {webhook.project}"
        advice = f"remove webhook {webhook.id} in its Settings > Webhooks, or connect the project"
        yield warning(name, f"{where} sends events here without a backend", advice)
