"""Answers /setup from memory, since Label Studio calls it at every turn."""

import asyncio
import time

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from backend.app_state import AppState, CachedProject, ProjectKey
from backend.http.request_bodies import RequestError
from backend.http.thread_pool import BusyError
from store.projects.key_values import REPAIR
from store.projects.projects import Project, change_project, find_project, get_project, save_project
from store.versions.versions import get_version, version_name
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.records.projects import ProjectRef
from studio.records.requests import SetupRequest

log = structlog.get_logger()

READ_SECONDS = 0.02  # for a read of the store; then the cached project is good enough
REVIVE_SECONDS = 10  # a call that comes sooner after a disconnect was on its way already


async def set_up(app_state: AppState, connection_id: str, request: SetupRequest) -> str:
    """Save the project, and request a repair of its registration now and then.

    Returns:
        The served version's name.
    """
    ref, label_config = request.project, request.label_config
    key = (connection_id, ref.ls_id, ref.ls_created)
    known = app_state.project_cache.get(key)
    if known is None or known.gone or (label_config and known.label_config != label_config):
        known = await app_state.write(lambda db: _register(db, connection_id, ref, label_config))
        app_state.project_cache.put(key, known)
        app_state.repair_throttle.passes(known.id)
        app_state.scheduler.wake()
        return known.version
    if app_state.repair_throttle.passes(known.id):
        project_id = known.id
        app_state.submit(lambda db: request_repair(db, project_id))
    if not app_state.setup_throttle.passes(known.id):
        return known.version
    return await _read_version_name(app_state, key, known)


def _register(
    db: Connection, connection_id: str, ref: ProjectRef, label_config: str
) -> CachedProject:
    known = find_project(db, connection_id, ref.ls_id, ref.ls_created)
    created = ref.ls_created if known is None else known.ls_created
    if created is None:
        raise RequestError(400, '"project" must say when it was created: "ID.CREATED"')
    project = save_project(db, connection_id, ref.ls_id, created, label_config=label_config)
    if known is not None and known.label_config != project.label_config:
        want(db, project.id, WorkKind.LEARN)
    request_repair(db, project.id)
    project = get_project(db, project.id) or project
    return _cached(db, project)


def _cached(db: Connection, project: Project) -> CachedProject:
    served = get_version(db, project.served_version_id) if project.served_version_id else None
    name = served.name if served else version_name(0)
    return CachedProject(project.id, project.label_config, name, project.gone_at is not None)


def request_repair(db: Connection, project_id: int) -> None:
    """Request that the next sync repairs the webhook and the model version in Label Studio."""
    project = get_project(db, project_id)
    if project is None:
        return
    if project.gone_at is not None:
        if time.time() - project.gone_at < REVIVE_SECONDS:
            return
        change_project(db, project_id, gone_at=None)  # somebody has pasted our URL again
    REPAIR.of(project_id).set(db, time.time())
    want(db, project_id, WorkKind.SYNC)


async def _read_version_name(app_state: AppState, key: ProjectKey, known: CachedProject) -> str:
    """The served version's name in the store, or in memory when the store takes too long."""

    def query(db: Connection) -> CachedProject:
        project = get_project(db, known.id)
        return known if project is None else _cached(db, project)

    async def read() -> CachedProject:
        try:
            found = await app_state.read(query)
        except (SQLAlchemyError, OSError, BusyError) as error:
            log.warning("answered from memory", project=known.id, reason=str(error))
            return known
        app_state.project_cache.put(key, found)
        return found

    reading = asyncio.ensure_future(read())
    app_state.background_tasks.add(reading)
    reading.add_done_callback(app_state.background_tasks.discard)
    await asyncio.wait({reading}, timeout=READ_SECONDS)
    return reading.result().version if reading.done() else known.version
