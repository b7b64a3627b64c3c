"""`apprentice connect` and `disconnect`."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from backend.commands.common import CommandError, load_settings, open_store
from store.connections import DEFAULT, ensure_default, get_connection, save_connection
from store.projects import Project, find_project
from store.settings import Settings
from store.store import Store
from studio.client import StudioClient
from worker.connecting import ConnectingError, connect, disconnect
from worker.studios import UnknownConnectionError, studio_for


def run_connect(project: int, connection: str, url: str | None, api_key: str | None) -> None:
    """Connect, and say what was changed and what happens next."""
    settings = load_settings(**_given(connection, url, api_key))
    with _studio(settings, connection, url, api_key) as (store, studio):
        changes = _Changes()
        connected = connect(store, studio, connection, project, settings.url, tell=changes.tell)
        changes.say_if_none("everything was as it should be; nothing changed")
        changes.console.print(
            f'Project {project} "{connected.title}" is connected. Open it in Label Studio and '
            f"label; `apprentice status --project {project}` shows what is learned.",
            markup=False,
        )


def run_disconnect(project: int, connection: str, url: str | None, api_key: str | None) -> None:
    """Disconnect, and say what was put back."""
    settings = load_settings(**_given(connection, url, api_key))
    with _studio(settings, connection, url, api_key) as (store, studio):
        known = _known(store, connection, project)
        if known is None:
            raise CommandError(f"project {project} is not connected")
        changes = _Changes()
        disconnect(store, studio, known, tell=changes.tell)
        changes.say_if_none("there was nothing of ours left in Label Studio")
        changes.console.print(f'Project {project} "{known.title}" is disconnected.', markup=False)


class _Changes:
    """Prints what is changed."""

    def __init__(self) -> None:
        self.console = Console(soft_wrap=True, highlight=False)
        self._any = False

    def tell(self, line: str) -> None:
        self._any = True
        self.console.print(f"  {line}", markup=False)

    def say_if_none(self, line: str) -> None:
        if not self._any:
            self.console.print(f"  {line}", markup=False)


def _given(connection: str, url: str | None, api_key: str | None) -> dict[str, str]:
    """What goes over the settings: only the default connection lives there."""
    if connection != DEFAULT:
        return {}
    given = {"label_studio_url": url, "label_studio_api_key": api_key}
    return {name: value for name, value in given.items() if value is not None}


def _known(store: Store, connection: str, project: int) -> Project | None:
    with store.database.read() as db:
        return find_project(db, connection, project)


@contextmanager
def _studio(
    settings: Settings, connection: str, url: str | None, api_key: str | None
) -> Iterator[tuple[Store, StudioClient]]:
    """The store and a client of the connection, which is saved first."""
    with open_store(settings) as store:
        _save(store, settings, connection, url, api_key)
        try:
            studio = studio_for(store, connection)
        except (UnknownConnectionError, ValueError) as error:
            raise CommandError(str(error)) from None
        with studio:
            try:
                yield store, studio
            except ConnectingError as error:
                raise CommandError(str(error)) from None


def _save(
    store: Store, settings: Settings, connection: str, url: str | None, api_key: str | None
) -> None:
    with store.database.read() as db:
        known = get_connection(db, connection)
    if connection == DEFAULT:
        if store.database.write(lambda db: ensure_default(db, settings)) is None:
            raise CommandError(
                "which Label Studio? Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY (a Personal "
                "Access Token, from Account & Settings), or give --url and --api-key"
            )
        return
    address = url or (known.url if known else None)
    token = api_key or (known.token if known else None)
    if not address or not token:
        raise CommandError(f"connection {connection!r} is new: give its --url and --api-key")
    store.database.write(lambda db: save_connection(db, connection, address, token))
