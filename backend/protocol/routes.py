"""The routes that Label Studio calls below the registered URL."""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from backend.app_state import AppState
from backend.dependencies import AppStateDep, ConnectionInPath
from backend.http.health import health_response
from backend.http.request_bodies import RequestError, read_object
from backend.protocol import predict as predictions
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

UNTRUSTED_BODY = 2_000_000  # bytes read from a caller without the secret


@router.get("/health")
async def health(request: Request, app_state: AppStateDep) -> JSONResponse:
    """Answer that the process is up, if the connection in the path is known."""
    if "connection_id" in request.path_params:
        await app_state.require_connection(request)
    return health_response()


@router.post("/setup")
async def setup(
    request: Request, app_state: AppStateDep, connection_id: ConnectionInPath
) -> JSONResponse:
    """Save the project, request a check of its registration, and answer the served version."""
    body = _parse(SetupRequest.from_json, await read_object(request, app_state.quick_pool))
    return JSONResponse({"model_version": await set_up(app_state, connection_id, body)})


@router.post("/predict")
async def predict(
    request: Request, app_state: AppStateDep, connection_id: ConnectionInPath
) -> JSONResponse:
    """Answer suggestions, one entry for each task."""
    body = _parse(PredictRequest.from_json, await read_object(request, app_state.bulk_pool))
    results = await predictions.predict(app_state, connection_id, body)
    if len(body.tasks) < predictions.BULK:
        return JSONResponse(results)
    return await app_state.bulk_pool.run(JSONResponse, results)


@router.post("/webhook")
async def webhook(request: Request, app_state: AppStateDep) -> JSONResponse:
    """Apply an event of Label Studio."""
    connection, trusted = await app_state.check_secret(request, request.headers.get(SECRET_HEADER))
    if trusted:
        body = await read_object(request, app_state.bulk_pool)
    else:
        body = await read_object(request, app_state.bulk_pool, limit=UNTRUSTED_BODY)
    if body.get("action") == START_TRAINING:
        # Sent like /predict: with the backend's credentials, never with the webhook's header.
        if not (trusted or request.state.authenticated):
            raise RequestError(401, "user and password are wrong or missing")
        ref = _parse(ProjectPayload.of_webhook, body).ref
        return JSONResponse({"job": await start_training.start(app_state, connection.id, ref)})
    if not trusted:
        log.warning("webhook refused", connection=connection.id, reason="wrong or missing secret")
        app_state.metrics.webhooks.labels(_metric_action(body), "refused").inc()
        raise RequestError(
            401,
            f"the header {SECRET_HEADER} is wrong or missing: run `apprentice connect` again, "
            "or wait a minute until the webhook is repaired",
        )
    return JSONResponse(await _apply(app_state, connection.id, body))


async def _apply(app_state: AppState, connection_id: str, body: dict[str, Any]) -> dict[str, Any]:
    event = _parse(webhook_events.read_event, body)
    if event is None:
        app_state.metrics.webhooks.labels("other", "ignored").inc()
        return {"status": "ignored: no use for this action"}
    outcome = await app_state.write(lambda db: webhook_events.apply_event(db, connection_id, event))
    app_state.scheduler.wake()
    app_state.metrics.webhooks.labels(event.action, outcome.status.partition(":")[0]).inc()
    log.info(
        "webhook",
        action=event.action,
        project=outcome.project_id,
        changed=outcome.changed,
        outcome=outcome.status,
    )
    return {"status": outcome.status}


def _metric_action(body: dict[str, Any]) -> str:
    try:
        return read_action(body) or "other"
    except ValueError:
        return "other"


@router.get("/versions")
@router.post("/versions")
async def versions(app_state: AppStateDep, connection_id: ConnectionInPath) -> JSONResponse:
    """Answer the names of shown versions, of all projects: Label Studio doesn't name one."""

    def query(db: Connection) -> list[str]:
        numbers: dict[int, str] = {}
        for project in list_projects(db):
            if project.connection_id == connection_id:
                for version in list_versions(db, project.id):
                    if version.status in (SERVED, RETIRED):
                        numbers[version.number] = version.name
        return [numbers[number] for number in sorted(numbers, reverse=True)]

    return JSONResponse({"versions": await app_state.read(query)})


@router.post("/train")
async def train(
    request: Request, app_state: AppStateDep, connection_id: ConnectionInPath
) -> JSONResponse:
    """Request training. Older versions of Label Studio call it instead of the webhook."""
    ref = _parse(ProjectRef.of_request, await read_object(request, app_state.bulk_pool))
    job = await start_training.start(app_state, connection_id, ref)
    return JSONResponse({"job": job}, status_code=201)


@router.post("/job_status")
async def job_status(
    request: Request, app_state: AppStateDep, _connection_id: ConnectionInPath
) -> JSONResponse:
    """Answer whether a job is queued, started, finished or failed; 410 if it is unknown."""
    job = (await read_object(request, app_state.quick_pool)).get("job")
    if not isinstance(job, str):
        raise RequestError(400, '"job" must be a string')
    state = await app_state.read(lambda db: start_training.job_state(db, job))
    if state is None:
        return JSONResponse({"job_status": "removed"}, status_code=410)
    return JSONResponse({"job_status": state})


def _parse(parse: Callable[[dict[str, Any]], T], body: dict[str, Any]) -> T:
    """Parse the body.

    Raises:
        RequestError: 400, the body is malformed.
    """
    try:
        return parse(body)
    except ValueError as error:
        raise RequestError(400, str(error)) from None
