"""Our JSON API for what is advised: how good, what next, when to stop, what is accepted unseen."""

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection

from backend.app_state import project_or_404
from backend.http.request_bodies import Body
from backend.views.advice import AdviceStatus, advice_status
from store.predictions.auto_accepts import Acceptance, list_acceptances
from store.projects.goals import Goal, change_goal
from store.work import pending_work
from store.work.work_kind import WorkKind

router = APIRouter(prefix="/api/v1/projects/{project_id}")

Share = Field(default=None, gt=0, lt=1)


class GoalWish(Body):
    """Fields that are left out stay as they are; null takes one back."""

    accuracy: float | None = Share
    accept_error: float | None = Share
    accept_writes: bool = False


@router.get("/advice")
async def advice(request: Request, project_id: int) -> AdviceStatus:
    """What the last learning found out about choosing, and what is advised."""
    web, project = await project_or_404(request, project_id)
    return await web.read(lambda db: advice_status(db, project))


@router.put("/goal")
async def goal(request: Request, project_id: int, asked: GoalWish) -> Goal:
    """Set what the team wants: an accuracy, and how many accepted suggestions may be wrong."""
    web, project = await project_or_404(request, project_id)
    values = asked.model_dump(exclude_unset=True)

    def write(db: Connection) -> Goal:
        changed = change_goal(db, project.id, **values)
        pending_work.want(db, project.id, WorkKind.LEARN)
        return changed

    changed = await web.write(write)
    web.sweeper.wake()
    return changed


@router.get("/accepted")
async def accepted(request: Request, project_id: int) -> list[Acceptance]:
    """Suggestions that are taken without a person looking at each, and how far they are."""
    web, project = await project_or_404(request, project_id)
    return await web.read(lambda db: list_acceptances(db, project.id))
