"""The calls that Label Studio makes, below the URL that is registered there."""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from backend.app_state import Web, web_of
from backend.http.request_bodies import RequestError, read_object
from backend.protocol import predict as predicting
from backend.protocol import start_training
from backend.protocol.setup import set_up
from services.connections.registration import SECRET_HEADER
from services.sync import webhook_events
from store.projects.projects import list_projects
from store.versions.versions import RETIRED, SERVED, list_versions
from studio.records.projects import ProjectPayload, ProjectRef
from studio.records.requests import PredictRequest, SetupRequest
from studio.records.webhooks import START_TRAINING, read_action

log = structlog.get_logger()

router = APIRouter()

T = TypeVar("T")

UNPROVEN_BODY = 2_000_000  # bytes read from a caller who has not shown the secret
HEALTH = {"status": "UP", "model_class": "apprentice"}


def health_response() -> JSONResponse:
    """What Label Studio asks at every turn: answered from nothing but memory."""
    return JSONResponse(HEALTH)


@router.get("/health")
async def health(request: Request) -> JSONResponse:
    """We are there, and know the connection."""
    if "connection_id" in request.path_params:
        await web_of(request).require_connection(request)
    return health_response()


@router.post("/setup")
async def setup(request: Request) -> JSONResponse:
    """A project uses us: remember it, have its registration looked at, name what is served."""
    web = web_of(request)
    connection_id = await web.require_connection(request)
    asked = _read(SetupRequest.from_json, await read_object(request, web.quick))
    return JSONResponse({"model_version": await set_up(web, connection_id, asked)})


@router.post("/predict")
async def predict(request: Request) -> JSONResponse:
    """Suggestions, one entry for each task."""
    web = web_of(request)
    connection_id = await web.require_connection(request)
    asked = _read(PredictRequest.from_json, await read_object(request, web.bulk))
    answer = await predicting.answer(web, connection_id, asked)
    if len(asked.tasks) < predicting.BULK:
        return JSONResponse(answer)
    return await web.bulk.run(JSONResponse, answer)


@router.post("/webhook")
async def webhook(request: Request) -> JSONResponse:
    """Something happened in Label Studio."""
    web = web_of(request)
    connection, trusted = await web.trusted(request, request.headers.get(SECRET_HEADER))
    if trusted:
        body = await read_object(request, web.bulk)
    else:
        body = await read_object(request, web.bulk, limit=UNPROVEN_BODY)
    if body.get("action") == START_TRAINING:
        # Sent like /predict: with the backend's credentials, never with the webhook's header.
        if not (trusted or request.state.authenticated):
            raise RequestError(401, "user and password are wrong or missing")
        ref = _read(ProjectPayload.of_webhook, body).ref
        return JSONResponse({"job": await start_training.start(web, connection.id, ref)})
    if not trusted:
        log.warning("webhook refused", connection=connection.id, reason="wrong or missing secret")
        web.metrics.webhooks.labels(_counted(body), "refused").inc()
        raise RequestError(
            401,
            f"the header {SECRET_HEADER} is wrong or missing: run `apprentice connect` again, "
            "or wait a minute until the webhook is repaired",
        )
    return JSONResponse(await _take(web, connection.id, body))


async def _take(web: Web, connection_id: str, body: dict[str, Any]) -> dict[str, Any]:
    event = _read(webhook_events.read_event, body)
    if event is None:
        web.metrics.webhooks.labels("other", "ignored").inc()
        return {"status": "ignored: no use for this action"}
    outcome = await web.write(lambda db: webhook_events.apply_event(db, connection_id, event))
    web.sweeper.wake()
    web.metrics.webhooks.labels(event.action, outcome.status.partition(":")[0]).inc()
    log.info(
        "webhook",
        action=event.action,
        project=outcome.project_id,
        changed=outcome.changed,
        outcome=outcome.status,
    )
    return {"status": outcome.status}


def _counted(body: dict[str, Any]) -> str:
    try:
        return read_action(body) or "other"
    except ValueError:
        return "other"


@router.get("/versions")
@router.post("/versions")
async def versions(request: Request) -> JSONResponse:
    """The names of what was shown. Label Studio doesn't say of which project: of all."""
    web = web_of(request)
    connection_id = await web.require_connection(request)

    def query(db: Connection) -> list[str]:
        numbers: dict[int, str] = {}
        for project in list_projects(db):
            if project.connection_id == connection_id:
                for version in list_versions(db, project.id):
                    if version.status in (SERVED, RETIRED):
                        numbers[version.number] = version.name
        return [numbers[number] for number in sorted(numbers, reverse=True)]

    return JSONResponse({"versions": await web.read(query)})


@router.post("/train")
async def train(request: Request) -> JSONResponse:
    """What older servers call instead of the webhook START_TRAINING."""
    web = web_of(request)
    connection_id = await web.require_connection(request)
    ref = _read(ProjectRef.of_request, await read_object(request, web.bulk))
    job = await start_training.start(web, connection_id, ref)
    return JSONResponse({"job": job}, status_code=201)


@router.post("/job_status")
async def job_status(request: Request) -> JSONResponse:
    """Whether a job that we named is queued, started, finished or failed; 410 if it is unknown."""
    web = web_of(request)
    await web.require_connection(request)
    job = (await read_object(request, web.quick)).get("job")
    if not isinstance(job, str):
        raise RequestError(400, '"job" must be a string')
    state = await web.read(lambda db: start_training.job_state(db, job))
    if state is None:
        return JSONResponse({"job_status": "removed"}, status_code=410)
    return JSONResponse({"job_status": state})


def _read(read: Callable[[dict[str, Any]], T], body: dict[str, Any]) -> T:
    """What the body says; a malformed one is answered with 400."""
    try:
        return read(body)
    except ValueError as error:
        raise RequestError(400, str(error)) from None
