"""`apprentice connect` and `disconnect`."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from backend.cli.common import MOST_ID, CommandError, load_settings, open_store
from services.connections.connect import ConnectingError, connect, disconnect
from services.connections.error_messages import explain
from services.connections.registration import backend_url
from store.projects.connections import DEFAULT, StudioConnection, get_connection, save_connection
from store.projects.projects import Project, find_project
from store.store import Store
from studio.client import StudioClient
from studio.errors import StudioError


def run_connect(project: int, connection: str, url: str | None, api_key: str | None) -> None:
    """Connect, and say what was changed and what happens next."""
    settings = load_settings(**_given(connection, url, api_key))
    with (
        open_store(settings) as store,
        _studio(store, connection, project, url, api_key) as studio,
    ):
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
    with open_store(settings) as store:
        known = _known(store, connection, project)
        if known is None:
            raise CommandError(f"project {project} is not connected")
        changes = _Changes()
        with _studio(store, connection, project, url, api_key) as studio:
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
    if project > MOST_ID:
        return None
    with store.database.read() as db:
        return find_project(db, connection, project)


@contextmanager
def _studio(
    store: Store, connection: str, project: int, url: str | None, api_key: str | None
) -> Iterator[StudioClient]:
    """A client of the connection, which is saved once Label Studio has taken its token.

    Raises:
        CommandError: it has not, and what is saved stays as it is: `up` may be at work with it.
    """
    asked = _asked(store, connection, url, api_key)
    try:
        studio = StudioClient(asked.url, asked.token)
    except ValueError as error:
        raise CommandError(str(error)) from None
    with studio:
        try:
            studio.whoami()
            store.database.write(lambda db: save_connection(db, connection, asked.url, asked.token))
            yield studio
        except StudioError as error:
            known = isinstance(error, ConnectingError)
            address = backend_url(store.settings.url, connection)
            said = error if known else explain(error, asked, address, project)
            raise CommandError(str(said)) from None


def _asked(store: Store, connection: str, url: str | None, api_key: str | None) -> StudioConnection:
    """The connection as it shall be: what is given, else the settings, else what is saved.

    Raises:
        CommandError: its URL or token is missing.
    """
    with store.database.read() as db:
        known = get_connection(db, connection)
    if connection == DEFAULT:
        settings = store.settings  # with what is given
        if settings.label_studio_url and settings.label_studio_api_key:
            url, api_key = (
                settings.label_studio_url,
                settings.label_studio_api_key.get_secret_value(),
            )
        elif known is None:
            raise CommandError(
                "which Label Studio? Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY (a Personal "
                "Access Token, from Account & Settings), or give --url and --api-key"
            )
    url, api_key = (
        url or (known.url if known else None),
        api_key or (known.token if known else None),
    )
    if not url or not api_key:
        raise CommandError(f"connection {connection!r} is new: give its --url and --api-key")
    return StudioConnection(connection, url, api_key, secret="")
