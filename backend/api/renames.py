"""The JSON API of renames: classes that labels name otherwise than the label config."""

from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import Connection

from backend.dependencies import AppStateDep, ProjectInPath
from backend.http.request_bodies import Body, RequestError
from services.labels.renaming import (
    NameChange,
    RenameError,
    UnknownName,
    change_name,
    list_renames,
    unknown_names,
)

router = APIRouter(prefix="/api/v1/projects/{project_id}")

Name = Field(min_length=1, max_length=1_000)


class Rename(Body):
    """A class, or with `tag` a control tag, and its name now; null undoes its rename.

    `control` is the control tag whose class it is, where several could be meant.
    """

    old: str = Name
    new: str | None = Field(min_length=1, max_length=1_000)
    control: str | None = None
    tag: bool = False


@dataclass(frozen=True)
class RenamesResponse:
    """The renames, and the names in labels that the config doesn't have."""

    renames: list[NameChange]
    unknown: list[UnknownName]


@router.get("/renames")
async def renames(app_state: AppStateDep, project: ProjectInPath) -> RenamesResponse:
    """The project's renames, and what could be renamed."""
    unknown = await app_state.read(lambda db: unknown_names(db, project))
    return RenamesResponse(list_renames(project), unknown)


@router.put("/renames")
async def rename(app_state: AppStateDep, project: ProjectInPath, body: Rename) -> NameChange:
    """Read labels of one name as those of another from now on, or undo that."""

    def write(db: Connection) -> NameChange:
        return change_name(db, project, body.old, body.new, control=body.control, tag=body.tag)

    try:
        change = await app_state.write(write)
    except RenameError as error:
        raise RequestError(409, str(error)) from None
    app_state.scheduler.wake()
    return change
