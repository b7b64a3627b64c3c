"""`apprentice disconnect`."""

from backend.cli.errors import CommandError
from backend.cli.options import ApiKey, Connection, Project, Url
from backend.cli.store_access import find_project_by_studio_id, load_settings, open_store


def disconnect(
    project: Project,
    connection: Connection = "default",
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Put back what `connect` changed. What was learned is kept for the next `connect`."""
    from backend.cli.actions.studio_access import ChangePrinter, open_studio, setting_overrides
    from services.connections import connect as connecting

    settings = load_settings(**setting_overrides(connection, url, api_key))
    with open_store(settings) as store:
        connected = find_project_by_studio_id(store, connection, project)
        if connected is None:
            raise CommandError(f"project {project} is not connected")
        changes = ChangePrinter()
        with open_studio(store, connection, project, url, api_key) as studio:
            connecting.disconnect(store, studio, connected, tell=changes.tell)
        changes.tell_if_none("there was nothing of ours left in Label Studio")
        changes.console.print(
            f'Project {project} "{connected.title}" is disconnected.', markup=False
        )
