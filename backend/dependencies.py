"""FastAPI dependencies: the application's state, and the project or connection in a path."""

from typing import Annotated, cast

from fastapi import Depends, Request

from backend.app_state import AppState
from backend.http.request_bodies import RequestError
from store.projects.projects import Project, get_project

MAX_ID = 2**31 - 1  # the database holds no larger ids


def app_state_of(request: Request) -> AppState:
    """The application's state."""
    return cast(AppState, request.app.state.app_state)


async def get_app_state(request: Request) -> AppState:
    """The application's state, as a dependency: a coroutine function runs in no thread."""
    return app_state_of(request)


AppStateDep = Annotated[AppState, Depends(get_app_state)]


async def get_project_in_path(app_state: AppStateDep, project_id: int) -> Project:
    """The project that the path names by our own id.

    Raises:
        RequestError: 404, there is no such project.
    """
    project: Project | None = None
    if 0 < project_id <= MAX_ID:
        project = await app_state.read_for_page(lambda db: get_project(db, project_id))
    if project is None:
        raise RequestError(404, f"no project {project_id}; /api/v1/projects lists them")
    return project


async def get_connection_in_path(app_state: AppStateDep, request: Request) -> str:
    """The id of the connection that the path names; the default one's without a name.

    Raises:
        RequestError: 404, there is no such connection.
    """
    return await app_state.require_connection(request)


ProjectInPath = Annotated[Project, Depends(get_project_in_path)]
ConnectionInPath = Annotated[str, Depends(get_connection_in_path)]
