"""Deletes old versions' predictions in Label Studio, a day after a newer version is served.

Deleting a prediction that an annotation refers to nulls its `parent_prediction`, and deleting one
that an annotator has open makes the submit fail. So only predictions go that nothing refers to and
that a newer one stands for.
"""

import time

import structlog
from sqlalchemy import Connection

from services.job_context import TIME_BOX, JobContext
from store.predictions.publications import latest_predictions
from store.predictions.shown import delete_predictions
from store.tasks.annotations import annotated_tasks, parent_predictions
from store.tasks.units import TaskId
from store.versions.versions import mark_swept, versions_to_sweep
from studio.client import StudioClient
from studio.errors import StudioNotFound

log = structlog.get_logger()

BATCH = 20  # deletions in one job: each takes about 0.2 s of Label Studio's time


def delete_old_predictions(context: JobContext, studio: StudioClient) -> bool:
    """Delete a few outdated predictions. Returns whether more are waiting."""
    store, project = context.store, context.project
    before = time.time() - store.settings.keep_versions_hours * 3600
    with store.database.read() as db:
        versions = versions_to_sweep(db, project.id, before)
        if not versions:
            return False
        parents = parent_predictions(db, project.id)
        annotated = annotated_tasks(db, project.id)
        newest = latest_predictions(db, project.id)
    existing = studio.predictions(project=project.ls_id)
    deleted = 0
    for version in versions:
        removable = [
            prediction
            for prediction in existing
            if prediction.model_version == version.name
            and prediction.id not in parents
            and (
                prediction.task in annotated or newest.get(TaskId(prediction.task), 0) > version.id
            )
        ]
        for prediction in removable:
            if deleted >= BATCH or context.seconds > TIME_BOX:
                return True
            context.check()
            try:
                studio.delete_prediction(prediction.id)
            except StudioNotFound:
                log.debug("prediction was gone already", prediction=prediction.id)
            deleted += 1
        gone = [TaskId(prediction.task) for prediction in removable]

        def write(db: Connection, version_id: int = version.id, gone: list[TaskId] = gone) -> None:
            delete_predictions(db, version_id, gone, annotated)
            mark_swept(db, version_id)

        store.database.write(write)
        log.info(
            "predictions of an old version deleted", version=version.name, deleted=len(removable)
        )
    return False
