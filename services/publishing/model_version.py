"""Sets the model version that Label Studio shows for a project."""

import structlog

from services.connections.original_settings import is_our_version
from store.projects.projects import Project
from studio.client import StudioClient
from studio.errors import StudioRejected

log = structlog.get_logger()


def show_version(studio: StudioClient, project: Project, name: str) -> None:
    """Set the version as the project's model version, unless the admin chose another's."""
    shown = studio.model_version(project.ls_id)
    if shown == name:
        return
    if shown and not is_our_version(shown) and shown not in _titles(studio, project):
        log.info("the project shows another model, which its admin chose", model_version=shown)
        return
    try:
        studio.show_model_version(project.ls_id, name)
    except StudioRejected as error:  # nothing was left to push: it has no prediction
        log.info("project keeps its model version", error=str(error))


def _titles(studio: StudioClient, project: Project) -> set[str]:
    """The titles of our own backend, which Label Studio shows before the first version."""
    backends = studio.backends(project.ls_id)
    return {backend.title for backend in backends if backend.id == project.backend_id}
