"""What guest models do for a project beside our own learning, and in place of it.

A project whose controls are not learned here is served by its guests alone: they get a version, a
shortlist and pushes as our own heads do.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection

from services.guests.project_guests import ProjectGuests, confidence_of, project_guests
from services.guests.specification import guest_specs
from services.guests.state import REPORT, fitted_key
from services.job_context import JobContext
from services.selection.queued_list import NO_LIST, queued_list
from services.selection.shortlist import shortlist_size
from services.suggestions.queue_order import shortlist_score
from store.predictions.guest_predictions import GuestPredictions
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import PredictionItem, add_publication
from store.predictions.shortlists import Choice, get_shortlist, set_shortlist
from store.projects.projects import change_project, is_pinned
from store.tasks.annotations import AnnotationRecord, annotated_tasks, current_annotations
from store.tasks.tasks import task_data, task_ids
from store.tasks.units import TaskId
from store.versions.versions import CANDIDATE, GUEST, Version, add_version, newest_version
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.config import parse_label_config

LOOKED_AT = 5_000  # tasks without a label among which a shortlist is chosen
STRATEGY = "guest"
STARTING = "its guest models are being started; `apprentice status` shows how they do"


def guests_of(context: JobContext) -> ProjectGuests | None:
    """The guests that serve the job's project; None when none does."""
    settings = context.store.settings
    if not settings.guests:
        return None
    with context.store.database.read() as db:
        return project_guests(db, guest_specs(settings), context.project)


def annotations_digest(annotations: Sequence[AnnotationRecord]) -> str:
    """A hash of the annotations' states."""
    states = sorted((each.ls_id, each.updated_at) for each in annotations)
    return hashlib.sha256(repr(states).encode()).hexdigest()[:24]


def request_guest_work(context: JobContext) -> None:
    """Request suggestions of the project's guests, and their training after new annotations."""
    guests = guests_of(context)
    if guests is None:
        return

    def write(db: Connection) -> None:
        pending_work.want(db, guests.project_id, WorkKind.PREDICT)
        if guests_to_train(db, guests):
            pending_work.want(db, guests.project_id, WorkKind.GUEST)

    context.store.database.write(write)


def guests_to_train(db: Connection, guests: ProjectGuests) -> list[str]:
    """The guests that learn, and have not seen today's annotations."""
    annotations = current_annotations(db, guests.project_id)
    report = REPORT.get(db)
    learning = {each.name for each in report.guests if each.learns} if report else set()
    digest = annotations_digest(annotations)
    waiting = []
    for spec in guests.specs:
        fitted = fitted_key(spec.name, guests.project_id).get(db)
        seen = fitted.labels if fitted else annotations_digest(())
        if spec.name in learning and seen != digest:
            waiting.append(spec.name)
    return waiting


def serve_guests_alone(context: JobContext) -> bool:
    """Publish the guests' suggestions where nothing of the project is learned here.

    Returns:
        Whether that is so; the job's work is done then.
    """
    guests = guests_of(context)
    if guests is None or parse_label_config(context.project.label_config).controls:
        return False
    predictions = GuestPredictions(context.store.settings)
    try:
        with context.step("choose"):
            _publish(context, guests, predictions)
    finally:
        predictions.close()
    request_guest_work(context)
    context.store.database.write(lambda db: pending_work.finish(db, context.lease))
    return True


def _publish(context: JobContext, guests: ProjectGuests, predictions: GuestPredictions) -> None:
    """Make a version where the guests' models have changed, and keep the shortlist filled."""
    database, project_id = context.store.database, guests.project_id
    if not guests.title:
        database.write(lambda db: change_project(db, project_id, reason=STARTING))
        return
    with database.read() as db:
        newest = newest_version(db, project_id)
        annotated = annotated_tasks(db, project_id)
        annotations = current_annotations(db, project_id)
        left = [task for task in get_shortlist(db, project_id) if task not in annotated]
        same = newest is not None and newest.metrics.get("guests") == guests.title
        queued = queued_list(db, project_id, newest.id, annotated) if newest and same else NO_LIST
        opened = sorted(task_ids(db, project_id) - annotated - {*queued.predicted})[:LOOKED_AT]
        data = task_data(db, project_id, opened)
    size = shortlist_size(context.store.settings, annotations)
    if same and len(left) >= size / 2:
        return
    kept = left if same else []
    stored = guests.stored(predictions, data)
    unsure_first = sorted(opened, key=lambda task: (not stored[task], confidence_of(stored[task])))
    chosen = [task for task in unsure_first if task not in kept][: size - len(kept)]
    items = [
        PredictionItem(task, shortlist_score(place), [])  # the push adds the guests' regions
        for place, task in enumerate(chosen, queued.next_place)
    ]

    def write(db: Connection) -> None:
        pending_work.check(db, context.lease)
        change_project(db, project_id, reason=None)
        if not items or is_pinned(db, project_id):
            return
        version = newest if newest and same else _add_version(db, guests, len(annotations))
        reason = PublicationReason.REFILL if same else PublicationReason.VERSION
        add_publication(db, project_id, version.id, reason, items)
        set_shortlist(db, project_id, version.id, _choices([*kept, *chosen]))
        pending_work.want(db, project_id, WorkKind.PUBLISH, not_before=0.0)

    database.write(write)


def _add_version(db: Connection, guests: ProjectGuests, labels: int) -> Version:
    return add_version(
        db,
        guests.project_id,
        kind=GUEST,
        status=CANDIDATE,
        embedding_space="",
        labels=labels,
        labels_digest="",
        metrics={"guests": guests.title},
        verdict="the guest models' own",
        artifact=None,
    )


def _choices(tasks: Sequence[TaskId]) -> list[Choice]:
    return [Choice(task, STRATEGY, None) for task in tasks]
