"""Answers /predict with the served version's heads on stored embeddings.

Each task gets one entry, in order. The entry is empty for a task that can't be predicted; when the
error is transient, its prediction is pushed later. When no task can be predicted, the request is
refused: Label Studio then saves nothing, and asks again.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from backend.app_state import AppState
from backend.http.request_bodies import RequestError
from backend.inference.client import Embedded, Failed, Wanted
from backend.protocol import predict_guests
from backend.protocol.predict_answer import (
    answer_given_before,
    join_entries,
    keep_answers,
    serialise,
    shortlist_scores,
)
from backend.protocol.predict_request import ImageKey, RequestedImage, RequestedTask, parse_tasks
from backend.protocol.predict_state import PredictState
from backend.protocol.setup import meet_project
from services.reports.problems import find_problems
from store.predictions.pending_answers import add_pending_answers
from store.predictions.publications import PredictionItem, save_predictions
from store.projects.embedding_spaces import backbone_of
from store.projects.projects import find_project
from store.tasks.tasks import get_tasks, mark_broken, mark_embedded, save_tasks
from store.tasks.units import UnitId
from store.versions.versions import get_version
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.config import parse_label_config
from studio.records.base import MalformedCount
from studio.records.requests import PredictRequest

log = structlog.get_logger()

BULK = 50  # tasks; a request with as many or more must not delay the small ones
WRITE = 200  # tasks in one transaction, so that webhooks get their turn between two
RETRY_AFTER = 5  # seconds


class UnknownProjectError(Exception):
    """The request's project is not stored yet."""


async def predict(app_state: AppState, connection_id: str, request: PredictRequest) -> bytes:
    """Label Studio's answer as JSON: `{"results": [...]}`, one entry for each task, in order.

    Raises:
        RequestError: 503, no task can be predicted now; the message says why.
    """
    deadline = time.monotonic() + app_state.settings.predict_seconds
    if app_state.guests is not None:
        answer = await predict_guests.answer_alone(app_state, connection_id, request, deadline)
        if answer is not None:
            return answer
    pool = app_state.bulk_pool if len(request.tasks) >= BULK else app_state.quick_pool
    try:
        state = await pool.run(_read, app_state, connection_id, request)
    except UnknownProjectError:
        await app_state.write(lambda db: meet_project(db, connection_id, request.project))
        app_state.scheduler.wake()
        raise RequestError(
            503, "this project is new: nothing is learned yet", retry_after=RETRY_AFTER
        ) from None
    if isinstance(state, bytes):
        return state
    missing = state.missing
    if missing:
        wanted = [Wanted(image.requested.task.ls_id, image.uri or "") for image in missing]
        outcomes = await app_state.inference.embed(
            connection_id,
            wanted,
            max(deadline - time.monotonic(), 0.1),
            backbone_of(state.predictor.space),
        )
        await pool.run(_add_outcomes, app_state, state, missing, outcomes)
    if state.transient_errors and not state.suggestions and not state.unusable:
        reason = next(iter(state.transient_errors.values()))
        app_state.metrics.predictions.labels("refused").inc(len(request.tasks))
        raise RequestError(503, f"no image could be read: {reason}", retry_after=RETRY_AFTER)
    if len(request.tasks) >= BULK:
        items, entries = await pool.run(serialise, state)
    else:
        items, entries = serialise(state)
    if app_state.guests is not None:
        items, entries = await predict_guests.add(app_state, state, items, deadline)
    if not request.interactive:
        await _save_answers(app_state, state, items, entries)
    _count_outcomes(app_state, state)
    return join_entries(entries)


def _read(app_state: AppState, connection_id: str, request: PredictRequest) -> PredictState | bytes:
    """Read the project, the served version and the stored tasks, in one transaction.

    Returns:
        The state of the request, or the answer if it was given before.
    """
    ref = request.project
    with app_state.store.database.read() as db:
        project = find_project(db, connection_id, ref.ls_id, ref.ls_created)
        if project is None:
            raise UnknownProjectError
        is_kept = app_state.guests is None and not request.interactive
        if is_kept and (given := answer_given_before(app_state, db, project, request)):
            return given
        version = get_version(db, project.served_version_id) if project.served_version_id else None
        if version is None or version.artifact is None:
            reason = find_problems(db, project).blocking or project.reason
            reason = reason or "nothing is learned yet"
            raise RequestError(503, f"no suggestion: {reason}", retry_after=RETRY_AFTER)
        config = parse_label_config(request.label_config or project.label_config)
        tasks, malformed = parse_tasks(request, config)
        stored = get_tasks(db, project.id, {requested.task.ls_id for requested in tasks})
        places = shortlist_scores(db, project.id, version.id)
    if malformed.total:
        count, reasons = malformed.total, str(malformed)
        log.warning("malformed tasks", project=project.id, count=count, reasons=reasons)
    predictor = app_state.load_predictor(version)
    # An editor that asks gets suggestions: only those shown unasked are withheld (control group).
    share = 0.0 if request.interactive else app_state.settings.blind_share
    state = PredictState(request, project, version, config, predictor, tasks, places, stored, share)
    _use_stored_embeddings(app_state, state)
    return state


def _use_stored_embeddings(app_state: AppState, state: PredictState) -> None:
    keys: dict[ImageKey, str] = {}
    for requested in state.tasks:
        for image in requested.images:
            task = state.stored_tasks.get(image.unit)
            if image.uri is None:
                state.permanent_errors[image.key] = "the task has no image"
            elif task is None or task.uri != image.uri:
                continue
            elif task.image_error is not None:
                state.permanent_errors[image.key] = task.image_error
            elif task.image_key is not None:
                keys[image.key] = task.image_key
    vectors = app_state.store.embeddings.get(state.predictor.space, list(keys.values()))
    state.vectors = {image: vectors[key] for image, key in keys.items() if key in vectors}
    state.suggest(app_state.settings.min_confidence)


def _add_outcomes(
    app_state: AppState,
    state: PredictState,
    missing: Sequence[RequestedImage],
    outcomes: Sequence[Embedded | Failed],
) -> None:
    unusable = MalformedCount()
    for image, outcome in zip(missing, outcomes, strict=True):
        if isinstance(outcome, Embedded):
            state.new_embeddings[image.key] = outcome
            if outcome.space == state.predictor.space:
                state.vectors[image.key] = outcome.vector
            else:
                state.transient_errors[image.key] = (
                    "the backbone was changed and is being learned anew"
                )
        elif outcome.permanent:
            state.permanent_errors[image.key] = outcome.reason
            unusable.add(outcome.reason, image.requested.task.ls_id)
        else:
            state.transient_errors[image.key] = outcome.reason
    if unusable.total:
        log.warning(
            "images can't be used",
            project=state.project.id,
            count=unusable.total,
            reasons=str(unusable),
        )
    if state.transient_errors:
        log.warning(
            "images not ready",
            project=state.project.id,
            count=len(state.transient_errors),
            reason=next(iter(state.transient_errors.values())),
        )
    state.suggest(app_state.settings.min_confidence)


async def _save_answers(
    app_state: AppState,
    state: PredictState,
    items: dict[int, PredictionItem],
    entries: Sequence[bytes],
) -> None:
    """Store the answered predictions, new embeddings and errors, and pending answers.

    Embeddings, errors and pending answers are committed before the request is answered. Predictions
    alone are committed within milliseconds after it: a crash may lose some, but the publish job
    compares with Label Studio before it adds to a version, so none is pushed twice.
    """
    new = bool(
        state.new_embeddings or state.permanent_errors or state.transient_errors or state.lacking
    )
    keep = partial(keep_answers, app_state, state, entries)
    if new or len(state.tasks) > WRITE:
        for part in _parts(state.tasks):
            await app_state.write(partial(_write_part, state=state, part=part, items=items))
        keep()
    else:
        change = partial(_write_part, state=state, part=state.tasks, items=items)
        app_state.submit(change, then=keep)
    if state.transient_errors or state.new_embeddings:
        app_state.scheduler.wake()


def _parts(tasks: Sequence[RequestedTask]) -> Iterator[Sequence[RequestedTask]]:
    return (tasks[start : start + WRITE] for start in range(0, len(tasks), WRITE))


def _write_part(
    db: Connection,
    *,
    state: PredictState,
    part: Sequence[RequestedTask],
    items: dict[int, PredictionItem],
) -> None:
    project_id = state.project.id
    save_tasks(db, project_id, [requested.task for requested in part if state.changed(requested)])
    save_predictions(
        db,
        project_id,
        state.version.id,
        [items[requested.position] for requested in part],
        "answered",
    )
    images = [image for requested in part for image in requested.images]
    embedded: dict[str, dict[UnitId, str]] = {}
    for image in images:
        if (outcome := state.new_embeddings.get(image.key)) is not None:
            embedded.setdefault(outcome.space, {})[image.unit] = outcome.key
    for space, image_keys in embedded.items():
        if space == state.project.embedding_space:
            mark_embedded(db, project_id, space, image_keys)
    mark_broken(
        db,
        project_id,
        {
            image.unit: reason
            for image in images
            if (reason := state.permanent_errors.get(image.key)) is not None
            and image.uri is not None
        },
    )
    pending = [requested.task.ls_id for requested in part if state.is_pending(requested)]
    if lacking := [each.task.ls_id for each in part if each.task.ls_id in state.lacking]:
        add_pending_answers(db, project_id, lacking)
        want(db, project_id, WorkKind.PREDICT)
    if pending:
        add_pending_answers(db, project_id, pending)
        want(db, project_id, WorkKind.EMBED)
        want(db, project_id, WorkKind.PUBLISH)
    if any(image.requested.annotated for image in images if image.key in state.new_embeddings):
        want(db, project_id, WorkKind.LEARN)


def _count_outcomes(app_state: AppState, state: PredictState) -> None:
    outcomes = app_state.metrics.predictions
    empty = sum(1 for suggestion in state.suggestions.values() if not suggestion.result)
    outcomes.labels("suggested").inc(len(state.suggestions) - empty)
    outcomes.labels("unsure").inc(empty)
    outcomes.labels("broken").inc(len(state.unusable))
    outcomes.labels("owed").inc(len(state.pending))
