"""Writes accepted suggestions to Label Studio as annotations, and deletes withdrawn ones.

Label Studio takes annotations of tasks that are there one by one. The row says `sent` before the
call begins: after a crash the task is read, and an annotation with our mark is taken for ours.
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import Connection

from services.job_context import TIME_BOX, JobContext
from store.predictions.auto_accepts import (
    SENT,
    WANTED,
    WITHDRAWN,
    WRITTEN,
    Acceptance,
    delete_acceptances,
    list_acceptances,
    set_acceptance_state,
)
from store.predictions.shortlists import drawn_tasks, get_shortlist
from store.tasks.accept_marks import is_accepted
from store.tasks.annotations import annotated_tasks
from store.tasks.units import TaskId
from studio.client import StudioClient
from studio.errors import StudioNotFound
from studio.records.annotations import AnnotationInfo
from studio.regions import regions_from_json, regions_to_json

log = structlog.get_logger()

BATCH = 20  # calls in one job: each takes about 0.1 s of Label Studio's time


def write_accepted(context: JobContext, studio: StudioClient) -> bool:
    """Write or delete a few annotations. Returns whether more are waiting."""
    database, project_id = context.store.database, context.project.id
    with database.read() as db:
        waiting = list_acceptances(db, project_id, (WITHDRAWN, SENT, WANTED), BATCH + 1)
        peoples = _left_to_people(db, project_id) if waiting else set()
    for item in waiting[:BATCH]:
        if context.seconds > TIME_BOX:
            return True
        context.check()
        try:
            if item.state == WITHDRAWN:
                _delete(context, studio, item)
            else:
                _write(context, studio, item, item.task in peoples)
        except StudioNotFound:  # the task is gone
            _forget(context, item)
    return len(waiting) > BATCH


def _left_to_people(db: Connection, project_id: int) -> set[TaskId]:
    """The tasks that people label: annotated, shortlisted and drawn ones."""
    annotated = annotated_tasks(db, project_id)
    return annotated.union(get_shortlist(db, project_id), drawn_tasks(db, project_id))


def _write(context: JobContext, studio: StudioClient, item: Acceptance, peoples: bool) -> None:
    database, project_id, task = context.store.database, context.project.id, item.task
    annotation_id = None
    if item.state == SENT:
        annotation_id = _untouched(studio.get_task(task).annotations)
    if annotation_id is None and peoples:
        _forget(context, item)  # a person is, or is to be, faster
        return
    if annotation_id is None:
        if not database.write(
            lambda db: set_acceptance_state(db, project_id, task, SENT, was=item.state)
        ):
            return  # it was given up meanwhile
        annotation_id = studio.create_annotation(task, regions_from_json(item.result)).id
    written = annotation_id
    # What was withdrawn meanwhile stays so, and is deleted next.
    database.write(
        lambda db: set_acceptance_state(db, project_id, task, WRITTEN, written, was=SENT)
    )


def _delete(context: JobContext, studio: StudioClient, item: Acceptance) -> None:
    annotation_id = _untouched(studio.get_task(item.task).annotations)
    if annotation_id is not None:
        studio.delete_annotation(annotation_id)
    _forget(context, item)


def _untouched(annotations: Sequence[AnnotationInfo]) -> int | None:
    """The id of the annotation with our mark, if no person has changed it."""
    for annotation in annotations:
        times = annotation.created_at.timestamp(), annotation.updated_at.timestamp()
        if is_accepted(regions_to_json(annotation.result), *times):
            return annotation.id
    return None


def _forget(context: JobContext, item: Acceptance) -> None:
    project_id = context.project.id
    context.store.database.write(lambda db: delete_acceptances(db, project_id, [item.task]))
