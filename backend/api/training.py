"""The JSON API to request and cancel training, and to change the backbone."""

from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import Field

from backend.dependencies import AppStateDep, ProjectInPath
from backend.http.request_bodies import Body, RequestError
from services.embedding.backbone_names import DEFAULT, WrongBackboneError, check_backbone_name
from services.versions.training_requests import (
    TrainingKind,
    cancel,
    change_backbone,
    request_training,
)

router = APIRouter(prefix="/api/v1/projects/{project_id}")


class TrainRequest(Body):
    """The kind of training: `head` takes seconds, `finetune` minutes."""

    kind: TrainingKind = TrainingKind.HEAD


class BackboneRequest(Body):
    """A pretrained backbone's name; null chooses the one of the settings."""

    backbone: str | None = Field(max_length=500)


@dataclass(frozen=True)
class TrainResponse:
    """The job that will train."""

    job: str
    kind: TrainingKind


@dataclass(frozen=True)
class CancelResponse:
    """The jobs that were cancelled, in words; empty when there were none."""

    cancelled: list[str]


@dataclass(frozen=True)
class BackboneResponse:
    """The project's new backbone; it is used once all images are embedded with it."""

    backbone: str | None


@router.post("/train", status_code=201)
async def train(
    app_state: AppStateDep, project: ProjectInPath, body: TrainRequest
) -> TrainResponse:
    """Train as soon as a worker is free."""
    await app_state.apply_webhooks()
    training = await app_state.write(lambda db: request_training(db, project.id, body.kind))
    app_state.scheduler.wake()
    return TrainResponse(training.job, training.kind)


@router.post("/cancel")
async def stop(app_state: AppStateDep, project: ProjectInPath) -> CancelResponse:
    """Stop the project's fine-tuning."""
    return CancelResponse(await app_state.write(lambda db: cancel(db, project.id)))


@router.put("/backbone")
async def backbone(
    app_state: AppStateDep, project: ProjectInPath, body: BackboneRequest
) -> BackboneResponse:
    """Move to another pretrained backbone, in the background."""
    try:
        name = await app_state.page_pool.run(
            check_backbone_name, app_state.settings, body.backbone or DEFAULT, paths=False
        )
    except WrongBackboneError as error:
        raise RequestError(400, str(error)) from None
    await app_state.write(lambda db: change_backbone(db, project.id, name))
    app_state.scheduler.wake()
    return BackboneResponse(name)
