"""Our JSON API about what was reached: the ledger, and similar images."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from backend.app_state import project_or_404
from backend.http.request_bodies import RequestError
from services.embedding.similar_images import MOST, NotReadyError, Similar, similar
from services.reports.ledger import Ledger, read_ledger
from store.tasks.units import TaskId

router = APIRouter(prefix="/api/v1/projects/{project_id}")


@router.get("/ledger")
async def ledger(request: Request, project_id: int) -> Ledger:
    """What became of suggestions, what time they save, and how they sway people."""
    web, project = await project_or_404(request, project_id)

    def read() -> Ledger:
        with web.store.database.read() as db:
            return read_ledger(db, project)

    return await web.bulk.run(read)


@router.get("/similar")
async def similar_images(
    request: Request,
    project_id: int,
    task: Annotated[int, Query(ge=1, lt=2**31)],
    k: Annotated[int, Query(ge=1, le=MOST)] = 10,
) -> list[Similar]:
    """The k tasks whose images look most like the task's (Label Studio's id), best first."""
    web, project = await project_or_404(request, project_id)
    try:
        return await web.bulk.run(similar, web.store, project, TaskId(task), k)
    except NotReadyError as error:
        raise RequestError(409, str(error)) from None
