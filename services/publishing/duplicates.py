"""Deletes second predictions of one version.

Label Studio takes any number of predictions of a version for a task, and no request can be made
conditional. Two workers may push the same chunk: the first was stopped in the middle of its
request, as long as others take it for dead, or Label Studio still works on the request of one that
was killed. Whoever notices that this may have happened says so; a look a little later mends it.
"""

import time
from collections import defaultdict

import structlog
from sqlalchemy import Connection

from services.connections.original_settings import OUR_VERSION
from services.job_context import JobContext
from store.projects.key_values import ProjectKey
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient
from studio.records.annotations import PredictionInfo

DELAY_SECONDS = 10.0  # Label Studio has finished by then what it was sent

# When to look for second predictions, in seconds since 1970.
SUSPECTED: ProjectKey[float] = ProjectKey("duplicates")

log = structlog.get_logger()


def suspect_duplicates(db: Connection, project_id: int) -> None:
    """Have the project's predictions looked through a little later."""
    SUSPECTED.of(project_id).set(db, time.time() + DELAY_SECONDS)
    pending_work.want(db, project_id, WorkKind.PUBLISH)


def delete_duplicates(context: JobContext, studio: StudioClient) -> float | None:
    """Delete the second predictions of each version, if any are suspected.

    Of two, the one with a suggestion stays, else the older one: an annotator may have it open.

    Returns:
        When to look, if that is later; None when there is nothing to look for any more.
    """
    key = SUSPECTED.of(context.project.id)
    with context.store.database.read() as db:
        due = key.get(db)
    if due is None or due > time.time():
        return due
    by_place: dict[tuple[int, str], list[PredictionInfo]] = defaultdict(list)
    for prediction in studio.predictions(project=context.project.ls_id):
        if OUR_VERSION.fullmatch(prediction.model_version):
            by_place[prediction.task, prediction.model_version].append(prediction)
    deleted = 0
    for predictions in by_place.values():
        for extra in sorted(predictions, key=lambda each: (not each.result, each.id))[1:]:
            studio.delete_prediction(extra.id)
            deleted += 1
    if deleted:
        log.info("deleted second predictions", predictions=deleted)

    def forget(db: Connection) -> None:
        pending_work.check(db, context.lease)
        if key.get(db) == due:
            key.delete(db)

    context.store.database.write(forget)
    return None
