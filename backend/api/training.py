"""Our JSON API for what people ask for: training, another backbone, and to stop it."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from pydantic import Field

from backend.app_state import project_or_404
from backend.http.request_bodies import Body, RequestError
from services.embedding.backbone_names import DEFAULT, WrongBackboneError, check_backbone_name
from services.versions.training_requests import (
    TrainingKind,
    cancel,
    change_backbone,
    request_training,
)

router = APIRouter(prefix="/api/v1/projects/{project_id}")


class TrainWish(Body):
    """What to train: `head` takes seconds, `finetune` minutes."""

    kind: TrainingKind = TrainingKind.HEAD


class BackboneWish(Body):
    """A pretrained backbone by name; null for the one of the settings."""

    backbone: str | None = Field(max_length=500)


@dataclass(frozen=True)
class TrainAnswer:
    """The job that will do it."""

    job: str
    kind: TrainingKind


@dataclass(frozen=True)
class CancelAnswer:
    """What was stopped, in words; nothing when nothing was under way."""

    cancelled: list[str]


@dataclass(frozen=True)
class BackboneAnswer:
    """What the project shall have from now on; it is used once all images are embedded with it."""

    backbone: str | None


@router.post("/train", status_code=201)
async def train(request: Request, project_id: int, asked: TrainWish) -> TrainAnswer:
    """Train as soon as a worker is free."""
    web, project = await project_or_404(request, project_id)
    wish = await web.write(lambda db: request_training(db, project.id, asked.kind))
    web.sweeper.wake()
    return TrainAnswer(wish.job, wish.kind)


@router.post("/cancel")
async def stop(request: Request, project_id: int) -> CancelAnswer:
    """Stop the project's fine-tuning."""
    web, project = await project_or_404(request, project_id)
    return CancelAnswer(await web.write(lambda db: cancel(db, project.id)))


@router.put("/backbone")
async def backbone(request: Request, project_id: int, asked: BackboneWish) -> BackboneAnswer:
    """Move to another pretrained backbone, in the background."""
    web, project = await project_or_404(request, project_id)
    try:
        name = await web.bulk.run(check_backbone_name, web.settings, asked.backbone or DEFAULT)
    except WrongBackboneError as error:
        raise RequestError(400, str(error)) from None
    await web.write(lambda db: change_backbone(db, project.id, name))
    web.sweeper.wake()
    return BackboneAnswer(name)
