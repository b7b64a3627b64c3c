"""Asks Label Studio whether a project that only a request named is ours."""

import time

import structlog
from sqlalchemy import Connection

from services.connections.registration import backend_url, same_url
from services.job_context import JobContext
from store.projects.unconfirmed import UNCONFIRMED, confirm, forget
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient

log = structlog.get_logger()

CONFIRM_SECONDS = 60.0  # in which the project must get a backend
AGAIN_SECONDS = 10.0


def is_confirmed(context: JobContext, studio: StudioClient) -> bool:
    """Whether the job's project, which Label Studio has, is ours; else the job is finished.

    One that only a request named has to have a backend. One that is gone must have us: it may have
    been disconnected in favour of another one.
    """
    project, database = context.project, context.store.database
    with database.read() as db:
        named_at = UNCONFIRMED.of(project.id).get(db)
    if named_at is None:
        if project.gone_at is not None:
            database.write(lambda db: pending_work.finish(db, context.lease))
        return project.gone_at is None
    url = backend_url(context.store.settings.url, project.connection_id)
    listed = studio.backends(project.ls_id)
    if any(project.gone_at is None or same_url(backend.url, url) for backend in listed):
        database.write(lambda db: confirm(db, project))
        return True
    log.info("project without a backend", project=project.ls_id)

    def write(db: Connection) -> None:
        now = time.time()
        pending_work.finish(db, context.lease)
        # Label Studio calls us before it has stored the new backend.
        if now - named_at < CONFIRM_SECONDS:
            pending_work.want(db, project.id, WorkKind.SYNC, not_before=now + AGAIN_SECONDS)
        else:
            forget(db, project)

    database.write(write)
    return False
