"""The JSON API of the ledger and of similar images."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.dependencies import AppStateDep, ProjectInPath
from backend.http.request_bodies import RequestError
from services.embedding.similar_images import MOST, NotReadyError, Similar, similar
from services.reports.ledger import Ledger, read_ledger
from store.tasks.units import TaskId

router = APIRouter(prefix="/api/v1/projects/{project_id}")


@router.get("/ledger")
async def ledger(app_state: AppStateDep, project: ProjectInPath) -> Ledger:
    """The outcomes of suggestions, the time they save, and their influence on annotators."""

    def read() -> Ledger:
        with app_state.store.database.read() as db:
            return read_ledger(db, project)

    return await app_state.page_pool.run(read)


@router.get("/similar")
async def similar_images(
    app_state: AppStateDep,
    project: ProjectInPath,
    task: Annotated[int, Query(ge=1, lt=2**31)],
    k: Annotated[int, Query(ge=1, le=MOST)] = 10,
) -> list[Similar]:
    """The k tasks whose images look most like the task's (Label Studio's id), best first."""
    try:
        return await app_state.page_pool.run(similar, app_state.store, project, TaskId(task), k)
    except NotReadyError as error:
        raise RequestError(409, str(error)) from None
