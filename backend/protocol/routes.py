"""The routes that Label Studio calls below the registered URL."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Connection

from backend.dependencies import AppStateDep, ConnectionInPath, app_state_of
from backend.http.health import health_response
from backend.http.request_bodies import RequestError, parse_record, read_object
from backend.protocol import predict as predictions
from backend.protocol import start_training
from backend.protocol import webhook as webhooks
from backend.protocol.setup import set_up
from store.projects.projects import list_projects
from store.versions.versions import RETIRED, SERVED, list_versions
from studio.records.projects import ProjectRef
from studio.records.requests import PredictRequest, SetupRequest

router = APIRouter()


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
    body = parse_record(SetupRequest.from_json, await read_object(request, app_state.quick_pool))
    called_as = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
    version = await set_up(app_state, connection_id, body, called_as)
    return JSONResponse({"model_version": version})


# FastAPI resolves two dependencies in a thirtieth of the time of a /predict: the routes that are
# called most have none.


@router.post("/predict")
async def predict(request: Request) -> Response:
    """Answer suggestions, one entry for each task."""
    app_state = app_state_of(request)
    connection_id = await app_state.require_connection(request)
    body = parse_record(PredictRequest.from_json, await read_object(request, app_state.bulk_pool))
    answer = await predictions.predict(app_state, connection_id, body)
    return Response(answer, media_type="application/json")


@router.post("/webhook")
async def webhook(request: Request) -> JSONResponse:
    """Apply an event of Label Studio, or start training."""
    return JSONResponse(await webhooks.apply(app_state_of(request), request))


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
    ref = parse_record(ProjectRef.of_request, await read_object(request, app_state.bulk_pool))
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
