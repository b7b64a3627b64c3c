"""`apprentice connect`."""

from backend.cli.options import ApiKey, Connection, Project, Url
from backend.cli.store_access import load_settings, open_store


def connect(
    project: Project,
    connection: Connection = "default",
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Connect a Label Studio project, and learn at once from the labels that it has."""
    from backend.cli.actions.studio_access import ChangePrinter, open_studio, setting_overrides
    from services.connections import connect as connecting

    settings = load_settings(**setting_overrides(connection, url, api_key))
    with (
        open_store(settings) as store,
        open_studio(store, connection, project, url, api_key) as studio,
    ):
        changes = ChangePrinter()
        connected = connecting.connect(
            store, studio, connection, project, settings.url, tell=changes.tell
        )
        changes.tell_if_none("everything was as it should be; nothing changed")
        changes.console.print(
            f'Project {project} "{connected.title}" is connected. Open it in Label Studio and '
            f"label; `apprentice status --project {project}` shows what is learned.",
            markup=False,
        )
