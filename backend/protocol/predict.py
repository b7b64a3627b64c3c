"""Answering /predict from what is computed: an embedding and a head are a small matrix product.

Each task gets one entry, in order. An entry with an empty result is for tasks that can never be
predicted; where the fault passes, the task is owed a prediction that is pushed later. When nothing
at all can be answered, the request is: Label Studio saves nothing then, and asks again.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection

from backend.app_state import Web
from backend.http.request_bodies import RequestError
from backend.inference.client import Embedded, Failed, Wanted
from backend.protocol.predict_request import AskedImage, ImageKey, Question, read_questions
from backend.protocol.predict_state import Answering
from services.suggestions.queue_order import shortlist_score
from store.predictions.pending_answers import add_pending_answers
from store.predictions.publications import PredictionItem, coming_scores, save_predictions
from store.predictions.shortlists import get_shortlist
from store.projects.embedding_spaces import backbone_of
from store.projects.projects import find_project, save_project
from store.tasks.tasks import get_tasks, mark_broken, mark_embedded, save_tasks
from store.tasks.units import UnitId
from store.versions.versions import START, get_version
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.config import parse_label_config
from studio.records.requests import PredictRequest

log = structlog.get_logger()

BULK = 50  # tasks from which a request counts as bulk: it mustn't delay the small ones
WRITE = 200  # tasks in one transaction, so that webhooks get their turn between two
RETRY_AFTER = 5  # seconds


class UnknownProjectError(Exception):
    """Label Studio asks for a project that we have never seen."""


async def answer(web: Web, connection_id: str, request: PredictRequest) -> dict[str, Any]:
    """Label Studio's answer: `{"results": [...]}`, one entry for each task, in order.

    Raises:
        RequestError: 503, when nothing can be answered now; with the reason.
    """
    deadline = time.monotonic() + web.settings.predict_seconds
    pool = web.bulk if len(request.tasks) >= BULK else web.quick
    try:
        state = await pool.run(_look, web, connection_id, request)
    except UnknownProjectError:
        await web.write(lambda db: _meet(db, connection_id, request))
        web.sweeper.wake()
        raise RequestError(
            503, "this project is new: nothing is learned yet", retry_after=RETRY_AFTER
        ) from None
    missing = state.missing
    if missing:
        wanted = [Wanted(image.question.task.ls_id, image.uri or "") for image in missing]
        outcomes = await web.inference.embed(
            connection_id,
            wanted,
            max(deadline - time.monotonic(), 0.1),
            backbone_of(state.predictor.space),
        )
        await pool.run(_take_in, web, state, missing, outcomes)
    if state.passing and not state.suggestions and not state.hopeless:
        reason = next(iter(state.passing.values()))
        web.metrics.predictions.labels("refused").inc(len(request.tasks))
        raise RequestError(503, f"no image could be read: {reason}", retry_after=RETRY_AFTER)
    items = await pool.run(state.items) if len(request.tasks) >= BULK else state.items()
    if not request.interactive:
        await _remember(web, state, items)
    _count(web, state)
    name = state.version.name
    nothing = {"result": [], "score": 1.0, "model_version": name}
    return {
        "results": [
            {"result": item.result, "score": item.score, "model_version": name}
            if (item := items.get(position))
            else nothing
            for position in range(len(request.tasks))
        ]
    }


def _look(web: Web, connection_id: str, request: PredictRequest) -> Answering:
    """All that is known already, in one read."""
    ref = request.project
    with web.store.database.read() as db:
        project = find_project(db, connection_id, ref.ls_id, ref.ls_created)
        if project is None:
            raise UnknownProjectError
        version = get_version(db, project.served_version_id) if project.served_version_id else None
        if version is None or version.kind == START:
            reason = project.reason or "nothing is learned yet"
            raise RequestError(503, f"no suggestion: {reason}", retry_after=RETRY_AFTER)
        config = parse_label_config(request.label_config or project.label_config)
        questions, malformed = read_questions(request, config)
        known = get_tasks(db, project.id, {question.task.ls_id for question in questions})
        coming = coming_scores(db, project.id, version.id)
        listed = {
            task: coming.get(task, shortlist_score(rank))
            for rank, task in enumerate(get_shortlist(db, project.id))
        }
    for position, reason in malformed.items():
        log.warning("malformed task", project=project.id, position=position, reason=reason)
    predictor = web.predictor(version)
    # An editor that asks for help gets it: only what is shown unasked may be withheld.
    share = 0.0 if request.interactive else web.settings.blind_share
    state = Answering(request, project, version, config, predictor, questions, listed, known, share)
    _use_known(web, state)
    return state


def _use_known(web: Web, state: Answering) -> None:
    keys: dict[ImageKey, str] = {}
    for question in state.questions:
        for image in question.images:
            task = state.known.get(image.unit)
            if image.uri is None:
                state.broken[image.key] = "the task has no image"
            elif task is None or task.uri != image.uri:
                continue
            elif task.image_error is not None:
                state.broken[image.key] = task.image_error
            elif task.image_key is not None:
                keys[image.key] = task.image_key
    found = web.store.embeddings.get(state.predictor.space, list(keys.values()))
    state.vectors = {image: found[key] for image, key in keys.items() if key in found}
    state.suggest(web.settings.min_confidence)


def _take_in(
    web: Web,
    state: Answering,
    missing: Sequence[AskedImage],
    outcomes: Sequence[Embedded | Failed],
) -> None:
    for image, outcome in zip(missing, outcomes, strict=True):
        if isinstance(outcome, Embedded):
            state.fresh[image.key] = outcome
            if outcome.space == state.predictor.space:
                state.vectors[image.key] = outcome.vector
            else:
                state.passing[image.key] = "the backbone was changed and is being learned anew"
        elif outcome.permanent:
            state.broken[image.key] = outcome.reason
            log.warning(
                "image can't be used",
                project=state.project.id,
                task=image.question.task.ls_id,
                reason=outcome.reason,
            )
        else:
            state.passing[image.key] = outcome.reason
    if state.passing:
        log.warning(
            "images not ready",
            project=state.project.id,
            count=len(state.passing),
            reason=next(iter(state.passing.values())),
        )
    state.suggest(web.settings.min_confidence)


async def _remember(web: Web, state: Answering, items: dict[int, PredictionItem]) -> None:
    """Write down what Label Studio is given.

    What was found out about images, and what is owed, is committed before the answer. Predictions
    alone follow it within milliseconds: after a crash, which may have forgotten one, the publish
    job compares with Label Studio what it adds to a version, so that none is pushed twice.
    """
    new = bool(state.fresh or state.broken or state.passing)
    for part in _parts(state.questions):
        change = partial(_write, state=state, part=part, items=items)
        if new or len(state.questions) > WRITE:
            await web.write(change)
        else:
            web.submit(change)
    if state.passing or state.fresh:
        web.sweeper.wake()


def _parts(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    return (questions[start : start + WRITE] for start in range(0, len(questions), WRITE))


def _write(
    db: Connection, *, state: Answering, part: Sequence[Question], items: dict[int, PredictionItem]
) -> None:
    project_id = state.project.id
    save_tasks(db, project_id, [q.task for q in part if state.changed(q)])
    save_predictions(
        db, project_id, state.version.id, [items[q.position] for q in part], "answered"
    )
    images = [image for q in part for image in q.images]
    embedded: dict[str, dict[UnitId, str]] = {}
    for image in images:
        if (outcome := state.fresh.get(image.key)) is not None:
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
            if (reason := state.broken.get(image.key)) is not None and image.uri is not None
        },
    )
    owed = [q.task.ls_id for q in part if state.waits(q)]
    if owed:
        add_pending_answers(db, project_id, owed)
        want(db, project_id, WorkKind.EMBED)
        want(db, project_id, WorkKind.PUBLISH)
    if any(image.question.annotated for image in images if image.key in state.fresh):
        want(db, project_id, WorkKind.LEARN)


def _meet(db: Connection, connection_id: str, request: PredictRequest) -> None:
    """Remember a project that was never seen, if Label Studio told which it is."""
    ref = request.project
    if ref.ls_created is None:
        return
    project = save_project(
        db, connection_id, ref.ls_id, ref.ls_created, label_config=request.label_config
    )
    want(db, project.id, WorkKind.SYNC)


def _count(web: Web, state: Answering) -> None:
    outcomes = web.metrics.predictions
    empty = sum(1 for suggestion in state.suggestions.values() if not suggestion.result)
    outcomes.labels("suggested").inc(len(state.suggestions) - empty)
    outcomes.labels("unsure").inc(empty)
    outcomes.labels("broken").inc(len(state.hopeless))
    outcomes.labels("owed").inc(len(state.owed))
