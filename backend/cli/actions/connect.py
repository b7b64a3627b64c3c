"""`apprentice connect`."""

from rich.console import Console

from backend.cli.options import ApiKey, Connection, Project, Url
from backend.cli.store_access import load_settings, open_store
from store.settings import Settings


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
        _offer_backbone(settings, changes.console)


def _offer_backbone(settings: Settings, console: Console) -> None:
    """Name a stronger backbone, if one can be had; its cost is measured where someone watches."""
    from services.embedding.stronger_backbone import find_offer

    with console.status("Measuring a stronger backbone on this machine, once (Ctrl-C to skip)"):
        offer = find_offer(settings, measure=console.is_terminal)
    if offer is not None:
        console.print(f"Worth trying: {offer.sentence()}", markup=False)
