"""The JSON API of advice, goals and automatic acceptance."""

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import Connection

from backend.dependencies import AppStateDep, ProjectInPath
from backend.http.request_bodies import Body
from backend.views.advice import AdviceStatus, advice_status
from store.predictions.auto_accepts import Acceptance, list_acceptances
from store.projects.goals import Goal, change_goal
from store.work import pending_work
from store.work.work_kind import WorkKind

router = APIRouter(prefix="/api/v1/projects/{project_id}")

Share = Field(default=None, gt=0, lt=1)


class GoalChange(Body):
    """The fields of the goal to change; null removes one."""

    accuracy: float | None = Share
    accept_error: float | None = Share
    accept_writes: bool = False


@router.get("/advice")
async def advice(app_state: AppStateDep, project: ProjectInPath) -> AdviceStatus:
    """The last learning's findings, and the advice."""
    return await app_state.read_for_page(lambda db: advice_status(db, project))


@router.put("/goal")
async def goal(app_state: AppStateDep, project: ProjectInPath, body: GoalChange) -> Goal:
    """Set the team's goal: an accuracy, and the share of accepted suggestions that may be wrong."""
    values = body.model_dump(exclude_unset=True)

    def write(db: Connection) -> Goal:
        changed = change_goal(db, project.id, **values)
        pending_work.want(db, project.id, WorkKind.LEARN)
        return changed

    changed = await app_state.write(write)
    app_state.scheduler.wake()
    return changed


@router.get("/accepted")
async def accepted(app_state: AppStateDep, project: ProjectInPath) -> list[Acceptance]:
    """The suggestions that are accepted automatically, and their states."""
    return await app_state.read_for_page(lambda db: list_acceptances(db, project.id))
