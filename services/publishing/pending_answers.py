"""Publishes predictions for tasks that got an empty answer from /predict."""

from sqlalchemy import Connection

from services.guests.stored_guests import StoredGuests
from services.job_context import JobContext
from services.labels.multi_image import learned_rows, not_embedded
from services.suggestions.prediction_items import rest_items
from services.suggestions.predictor import Predictor
from services.suggestions.queue_order import rest_score
from services.suggestions.suggest import suggest
from store.predictions.pending_answers import mark_answered, tasks_with_pending_answer
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import PredictionItem, add_publication, pending_publications
from store.tasks.tasks import Task, get_tasks
from store.tasks.units import TaskId
from store.versions.versions import START, Version, get_version
from studio.config import LabelConfig, parse_label_config


def publish_pending_answers(context: JobContext) -> None:
    """Add a publication of the tasks that can be answered now."""
    store, project = context.store, context.project
    with store.database.read() as db:
        pending = tasks_with_pending_answer(db, project.id)
        if not pending or any(
            publication.reason is PublicationReason.PENDING_ANSWER
            for publication in pending_publications(db, project.id)
        ):
            return
        served_id = project.served_version_id
        version = get_version(db, served_id) if served_id else None
        images = list(get_tasks(db, project.id, pending).values())
    if version is None or version.kind == START:
        return
    config = parse_label_config(project.label_config)
    if version.artifact is None:  # of guests alone: the push adds their regions
        _publish_empty(context, version, pending)
        return
    predictor = Predictor.load(store, version)
    without_image = pending - {image.ls_id for image in images if image.usable}
    ready = _ready(images, config, version)
    suggestions = suggest(store, project, ready, predictor, config)
    items = rest_items(list(suggestions), suggestions)

    def write(db: Connection) -> None:
        mark_answered(db, project.id, without_image)
        if items:
            reason = PublicationReason.PENDING_ANSWER
            add_publication(db, project.id, version.id, reason, items)

    store.database.write(write)


def _publish_empty(context: JobContext, version: Version, pending: set[TaskId]) -> None:
    """Add a publication of the tasks that guests alone have answered by now."""
    guests = StoredGuests.open(context.store, context.project)
    ready = guests.answered(pending) if guests is not None else set()
    items = [PredictionItem(task, rest_score(1.0), []) for task in sorted(ready)]
    reason, project_id = PublicationReason.PENDING_ANSWER, context.project.id
    if items:
        context.store.database.write(
            lambda db: add_publication(db, project_id, version.id, reason, items)
        )


def _ready(images: list[Task], config: LabelConfig, version: Version) -> list[Task]:
    """Units of tasks all of whose images are embedded."""
    in_order = sorted(images, key=lambda image: (image.ls_id, image.item))
    units = learned_rows(in_order, config)
    waiting = not_embedded(units, version.embedding_space)
    return [unit for unit in units if unit.usable and unit.ls_id not in waiting]
