"""Label Studio as `connect` and `disconnect` reach it: the connection, its client, its changes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from backend.cli.errors import CommandError
from services.connections.connect import ConnectingError
from services.connections.error_messages import explain
from services.connections.registration import backend_url
from store.projects.connections import DEFAULT, StudioConnection, get_connection, save_connection
from store.store import Store
from studio.client import StudioClient
from studio.errors import StudioError, StudioNotFound


class ChangePrinter:
    """Prints each change that is made in Label Studio."""

    def __init__(self) -> None:
        self.console = Console(soft_wrap=True, highlight=False)
        self._any = False

    def tell(self, line: str) -> None:
        """Print a change."""
        self._any = True
        self.console.print(f"  {line}", markup=False)

    def tell_if_none(self, line: str) -> None:
        """Print the line if no change was printed."""
        if not self._any:
            self.console.print(f"  {line}", markup=False)


def setting_overrides(connection: str, url: str | None, api_key: str | None) -> dict[str, str]:
    """The settings that the options replace: only the default connection is a setting."""
    if connection != DEFAULT:
        return {}
    options = {"label_studio_url": url, "label_studio_api_key": api_key}
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def open_studio(
    store: Store, connection: str, project: int, url: str | None, api_key: str | None
) -> Iterator[StudioClient]:
    """Open a client for a `with` block, and save the connection once its token is accepted.

    Raises:
        CommandError: the token is not accepted. The saved connection stays as it is then, because
            `up` may be using it.
    """
    wanted = _wanted_connection(store, connection, url, api_key)
    try:
        studio = StudioClient(wanted.url, wanted.token)
    except ValueError as error:
        raise CommandError(str(error)) from None
    with studio:
        try:
            _check_token(studio)
            saved = store.database.write(
                lambda db: save_connection(db, connection, wanted.url, wanted.token)
            )
            studio.aliases = saved.aliases
            yield studio
        except StudioError as error:
            is_explained = isinstance(error, ConnectingError)
            address = backend_url(store.settings.url, connection)
            message = error if is_explained else explain(error, wanted, address, project)
            raise CommandError(str(message)) from None


def _check_token(studio: StudioClient) -> None:
    """Raise StudioError when the token is not accepted, CommandError when nobody is asked."""
    try:
        studio.whoami()
    except StudioNotFound:
        raise CommandError(
            f"what answers at {studio.url} is no Label Studio: give the URL that its pages have, "
            "with the path before /projects if there is one"
        ) from None


def _wanted_connection(
    store: Store, connection: str, url: str | None, api_key: str | None
) -> StudioConnection:
    """The connection of the options, else of the settings, else the saved one.

    Raises:
        CommandError: the URL or the token is missing.
    """
    with store.database.read() as db:
        saved = get_connection(db, connection)
    if connection == DEFAULT:
        settings = store.settings  # with the options
        url = settings.label_studio_url
        if settings.label_studio_api_key:
            api_key = settings.label_studio_api_key.get_secret_value()
    if saved is not None:
        url = url or saved.url
        if not api_key and url == saved.url:  # it goes to no other server
            api_key = saved.token
    if url and not api_key and sys.stdin.isatty():
        prompt = f"Personal Access Token of {url} (Account & Settings there)"
        api_key = typer.prompt(prompt, hide_input=True, err=True)
    if url and api_key:
        return StudioConnection(connection, url, api_key, secret="")
    if connection != DEFAULT:
        raise CommandError(
            f"connection {connection!r} is new: give its --url, and its token with --api-key -"
        )
    raise CommandError(
        "which Label Studio? Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY (a Personal Access "
        "Token, from Account & Settings), or give --url, and the token with --api-key -"
    )
