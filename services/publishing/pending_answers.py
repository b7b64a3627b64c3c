"""Publishes predictions for tasks that got none, or one without a guest model's part."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection

from services.guests.stored_guests import StoredGuests
from services.job_context import JobContext
from services.labels.multi_image import learned_rows, not_embedded
from services.suggestions.prediction_items import rest_items
from services.suggestions.predictor import Predictor
from services.suggestions.queue_order import is_listed, rest_score
from services.suggestions.suggest import suggest
from store.predictions.pending_answers import mark_answered, tasks_with_pending_answer
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import (
    CHUNK_ITEMS,
    PredictionItem,
    add_publication,
    pending_publications,
)
from store.predictions.shown import given_predictions
from store.tasks.annotations import annotated_tasks
from store.tasks.tasks import Task, get_tasks
from store.tasks.units import TaskId
from store.versions.versions import START, Version, get_version
from studio.config import parse_label_config

NOTHING = rest_score(1.0)  # the score of a task that can't be predicted


def publish_pending_answers(context: JobContext) -> bool:
    """Add a publication of some tasks that can be answered now. Returns whether there are more.

    A task that lacks the part of a guest waits for it, unless Label Studio holds nothing of it.
    """
    store, project = context.store, context.project
    with store.database.read() as db:
        pending = tasks_with_pending_answer(db, project.id)
        served = project.served_version_id
        version = get_version(db, served) if pending and served else None
        if version is None or version.kind == START or _is_publishing(db, project.id):
            return False
        images = list(get_tasks(db, project.id, pending).values())
        given = given_predictions(db, project.id, version.id, pending)
        annotated = annotated_tasks(db, project.id)
    guests = StoredGuests.open(store, project)
    # Guests aren't asked about labelled tasks.
    lacking = guests.unanswered(pending - annotated) if guests else set[TaskId]()
    units = _units(context, version, images)
    waiting = not_embedded(units, version.embedding_space)
    ready = sorted(pending - lacking - waiting)
    bare = {task for task in lacking - waiting if task not in given or not given[task].result}
    ours = _items(context, version, units, {*ready[:CHUNK_ITEMS], *bare})
    merged = guests.merge(ours)[0] if guests else ours
    wanted, answered = [], []
    for item, whole in zip(ours, merged, strict=True):
        if item.task in lacking:
            if item.result:
                wanted.append(item)
        elif _is_new(whole, given.get(item.task)):
            wanted.append(item)
        else:
            answered.append(item.task)

    def write(db: Connection) -> None:
        mark_answered(db, project.id, answered)
        if wanted:  # the push adds the guests' regions
            reason = PublicationReason.PENDING_ANSWER
            add_publication(db, project.id, version.id, reason, wanted)

    store.database.write(write)
    return len(ready) > CHUNK_ITEMS


def _is_publishing(db: Connection, project_id: int) -> bool:
    return any(
        publication.reason is PublicationReason.PENDING_ANSWER
        for publication in pending_publications(db, project_id)
    )


def _units(context: JobContext, version: Version, images: Sequence[Task]) -> list[Task]:
    """What we suggest something for; nothing where guests serve the project alone."""
    if version.artifact is None:
        return []
    in_order = sorted(images, key=lambda image: (image.ls_id, image.item))
    return learned_rows(in_order, parse_label_config(context.project.label_config))


def _items(
    context: JobContext, version: Version, units: Sequence[Task], tasks: Collection[TaskId]
) -> list[PredictionItem]:
    """Our own predictions of tasks: empty ones of those without an image that can be used."""
    usable = [unit for unit in units if unit.usable and unit.ls_id in tasks]
    found: Mapping[TaskId, PredictionItem] = {}
    if usable:
        config = parse_label_config(context.project.label_config)
        predictor = Predictor.load(context.store, version)
        suggestions = suggest(context.store, context.project, usable, predictor, config)
        found = {item.task: item for item in rest_items(list(suggestions), suggestions)}
    nothing = set(tasks).difference(unit.ls_id for unit in usable)
    return [
        found[task] if task in found else PredictionItem(task, NOTHING, [])
        for task in sorted({*found, *nothing})
    ]


def _is_new(item: PredictionItem, given: PredictionItem | None) -> bool:
    """Whether a prediction says more than what Label Studio was given."""
    if given is None:
        return bool(item.result) or item.score != NOTHING
    if not item.result and given.result:  # its image can't be used any more
        return False
    moved = not is_listed(given.score) and item.score != given.score
    return item.result != given.result or moved
